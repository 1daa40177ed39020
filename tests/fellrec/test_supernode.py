"""A node whose SuperNode was killed: refused, told so once, tried again, and joined; signed off when it is asked to end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from fellrec import supernode
from fellrec.supernode import SuperNode

FLOWER = """#!{python}
import os, signal, sys, time
log, refusals = sys.argv[1], int(sys.argv[2])
with open(log, "a") as file:
    file.write("x")
print("INFO :      Starting Flower SuperNode", flush=True)
if os.path.getsize(log) <= refusals:
    print("ERROR :     Exit Code: 305\\n[code: 2004] Failed to activate SuperNode.", flush=True)
    sys.exit(1)
if "lonely" in sys.argv:
    time.sleep(0.5)
    print("INFO : Connection attempt failed", flush=True)
    sys.exit(7)
def bye(*_):
    print("SuperNode terminated gracefully.", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, bye)
print("INFO :      SuperNode ID: 123", flush=True)
time.sleep(0.2 if "short" in sys.argv else 60)
sys.exit(5)
"""
REFUSES = "fellrec: the SuperLink refuses this node"


@pytest.fixture(autouse=True)
def _flower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ``flower-supernode`` that is refused so many times, and no pauses."""
    script = tmp_path / "flower-supernode"
    script.write_text(FLOWER.format(python=sys.executable))
    script.chmod(0o755)
    monkeypatch.setattr(supernode, "tool", lambda name: str(tmp_path / name))
    monkeypatch.setattr(supernode, "PAUSE", 0.05)


def node(folder: Path, refusals: int, said: list[str], *how: str) -> SuperNode:
    return SuperNode([str(folder / "starts"), str(refusals), *how], folder / "joined", said.append)


def starts(folder: Path) -> int:
    return len((folder / "starts").read_text())


def test_a_node_that_is_refused_for_a_while_joins_and_says_once_why_it_waits(tmp_path: Path) -> None:
    said: list[str] = []
    assert node(tmp_path, 3, said, "short").run() == 5
    assert starts(tmp_path) == 4
    assert [line.startswith(REFUSES) for line in said].count(True) == 1
    assert sum("Exit Code: 305" in line for line in said) == 1, "Flower's own words come once"
    assert said[-1].endswith("SuperNode ID: 123") and said[-2].endswith("Starting Flower SuperNode")


def test_it_is_marked_as_joined_only_while_it_is(tmp_path: Path) -> None:
    seen: dict[str, bool] = {}
    one = SuperNode(
        [str(tmp_path / "starts"), "1"],
        tmp_path / "joined",
        lambda line: seen.update({line: (tmp_path / "joined").exists()}),
    )
    thread = threading.Thread(target=one.run)
    thread.start()
    while not any("SuperNode ID" in line for line in seen):
        time.sleep(0.02)
    one.leave()
    thread.join()
    assert [there for line, there in seen.items() if "SuperNode ID" in line] == [True]
    assert not any(there for line, there in seen.items() if "Exit Code" in line or line.startswith(REFUSES))
    assert not (tmp_path / "joined").exists()


def test_one_that_is_refused_for_good_ends_and_says_what_to_look_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supernode, "WAIT_FOR", 0.0)
    said: list[str] = []
    assert node(tmp_path, 99, said).run() == 1
    assert starts(tmp_path) == 2 and "key is registered" in said[-1]


def test_any_other_end_is_passed_on_at_once(tmp_path: Path) -> None:
    assert node(tmp_path, 0, [], "short").run() == 5
    assert starts(tmp_path) == 1


def test_a_try_that_is_not_refused_is_shown_whatever_becomes_of_it(tmp_path: Path) -> None:
    said: list[str] = []
    assert node(tmp_path, 1, said, "lonely").run() == 7
    assert said[-2:] == ["INFO :      Starting Flower SuperNode", "INFO : Connection attempt failed"]


def test_a_try_that_is_silent_is_shown_while_it_lasts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supernode, "SILENCE", 0.1)
    said: list[tuple[str, float]] = []
    one = SuperNode([str(tmp_path / "starts"), "1", "lonely"], None, lambda line: said.append((line, time.monotonic())))
    one.run()
    assert said[-1][1] - said[-2][1] > 0.2, "what it said first was not kept until it ended"


def test_whoever_is_asked_to_end_lets_flower_sign_off(tmp_path: Path) -> None:
    program = "import signal, sys; from pathlib import Path; from fellrec import supernode; folder = Path(sys.argv[1])"
    program += (
        "\nsupernode.tool = lambda name: str(folder / name)\nfrom fellrec.cli import main\ndel sys.argv[1]\nmain()"
    )
    words = ["join", "--mark", str(tmp_path / "joined"), "--", str(tmp_path / "starts"), "0"]
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path), *words], stdout=subprocess.PIPE, text=True, env=os.environ
    )
    assert process.stdout
    while "SuperNode ID" not in (line := process.stdout.readline()):
        assert line
    process.send_signal(signal.SIGTERM)
    assert "SuperNode terminated gracefully." in process.stdout.read()
    assert process.wait(30) == 0
