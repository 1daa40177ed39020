from __future__ import annotations

import ctypes
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from server_app.split.idle import ARENAS, few_arenas, give_back
from tests.server_app.split.raw import Raw, hello

SESSIONS = "fellrec_split_sessions"


def test_where_the_c_library_has_no_way_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert give_back() is False and few_arenas() is False


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc is Linux's")
def test_many_threads_leave_few_heaps_behind() -> None:
    """In a process of its own, for a heap that was made stays. Each thread frees what it took."""
    script = (
        "import threading, ctypes, re\n"
        "from server_app.split.idle import few_arenas\n"
        "assert few_arenas()\n"
        "gate = threading.Barrier(24)\n"
        "def take():\n"
        "    gate.wait(); held = [bytes(100_000) for _ in range(20)]; gate.wait()\n"
        "threads = [threading.Thread(target=take) for _ in range(24)]\n"
        "[thread.start() for thread in threads]; [thread.join() for thread in threads]\n"
        "libc = ctypes.CDLL(None)\n"
        "libc.fopen.restype = ctypes.c_void_p\n"
        "file = libc.fopen(b'/dev/stdout', b'w'); libc.malloc_info(0, ctypes.c_void_p(file)); libc.fflush(None)\n"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert 1 <= told.stdout.count("<heap nr=") <= ARENAS


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc is Linux's")
def test_memory_is_given_back_once_the_last_session_has_ended(make_host, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    host = make_host()
    monkeypatch.setattr(
        "server_app.split.host.give_back", lambda: asked.append(host.metrics.get_sample_value(SESSIONS))
    )
    address = host.start()
    host.begin("ann", 1, 0.1, adapter_seed=1)
    first, second = (Raw(address, host.mint("ann", 60), [hello()]) for _ in range(2))
    for session in (first, second):
        next(session.heads())
    first.close()
    eventually(lambda: host.metrics.get_sample_value(SESSIONS) == 1)
    host.snapshot()
    assert asked == []
    second.close()
    eventually(lambda: asked == [0])


def eventually(true: Callable[[], bool]) -> None:
    for _ in range(2000):
        if true():
            return
        time.sleep(0.005)
    assert true()
