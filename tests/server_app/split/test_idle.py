from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable

import pytest

from server_app.split.idle import give_back
from tests.server_app.split.raw import Raw, hello

SESSIONS = "fellrec_split_sessions"


def test_where_the_c_library_has_no_way_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert give_back() is False


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
