"""A service that is asked to end: while it loads as well as later, and whatever it computes then."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.config import from_flat
from common.run_folder import RunFolder
from fellrec import serving

STUCK = """
import os, signal, sys, time
from types import SimpleNamespace
from fellrec import serving

class Stuck:
    address = "127.0.0.1:1"
    def __init__(self, *_): pass
    def show(self, *_): return SimpleNamespace(tokens={0.0: "t"})
    def close(self): time.sleep(60)

serving.Hosting, serving.END_WITHIN = Stuck, 1
folder = SimpleNamespace(name="one", path=__import__("pathlib").Path(sys.argv[1]), load_adapter=lambda _: {})
serving.serve(folder, None, 1.0, lambda _: os.kill(os.getpid(), signal.SIGTERM))
"""


@pytest.fixture
def ended(fellrec_home: Path) -> RunFolder:
    found = RunFolder.create(from_flat({"home": str(fellrec_home), "run-name": "one"}), "")
    (found.path / "adapters").mkdir()
    (found.path / "adapters" / "toy-0.safetensors").touch()
    return found


@pytest.fixture
def handlers() -> Iterator[None]:
    """This process's own come back, and no alarm stays."""
    before = {sign: signal.getsignal(sign) for sign in serving.ASKED}
    yield
    signal.alarm(0)
    for sign, handler in before.items():
        signal.signal(sign, handler)


@pytest.mark.parametrize("sign", serving.ASKED)
def test_a_service_that_still_loads_ends_at_once(
    ended: RunFolder, handlers: None, monkeypatch: pytest.MonkeyPatch, sign: signal.Signals
) -> None:
    def load(*_: object) -> None:
        os.kill(os.getpid(), sign)
        pytest.fail("it went on loading")

    monkeypatch.setattr(serving, "Hosting", load)
    with pytest.raises(SystemExit) as left:
        serving.serve(ended, ended.config(), 1.0, lambda _: pytest.fail("it served"))
    assert left.value.code == 0


def test_one_whose_end_takes_too_long_is_ended(ended: RunFolder) -> None:
    done = subprocess.run([sys.executable, "-c", STUCK, str(ended.path)], timeout=40)
    assert done.returncode == -signal.SIGALRM
