"""Ctrl-C, SIGTERM and SIGKILL in every phase of `run`, `compare`, `demo` and `serve`: no process is left after ten seconds.

Each case starts Flower and Ray; the table is printed, and FELLREC_INTERRUPTED_TABLE may name a JSON file for it.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fellrec.flower import write_settings
from tests.federation import federate, tiny_settings
from tests.interrupted import Interrupted

pytestmark = pytest.mark.faults
STARTING = {
    "preparing": "clients; strategy",
    "superlink": "bin/flower-superlink",
    "bundle": "bin/flwr run",
    "server app": "bin/flwr-simulation",
    "ray": "raylet/raylet",
    "workers": '"run_started"',
}
"""What shows that a phase has begun: a word, an event, or a process."""
RUNNING = {"training": '"round_started"', "between rounds": '"round_ended"', "measuring": '"measuring"'}
SHORT = {
    "train.examples": 8,
    "evaluate.valid-users": 4,
    "evaluate.test-users": 4,
    "num-server-rounds": 1,
    "train.batch-size": 4,
}
CASES = [
    *((command, phase, signal.SIGINT) for command in ("run", "compare", "demo") for phase in STARTING),
    *((command, phase, signal.SIGINT) for command in ("run", "compare", "demo") for phase in RUNNING),
    ("demo", "recommending", signal.SIGINT),
    *(("run", phase, sign) for sign in (signal.SIGTERM, signal.SIGKILL) for phase in STARTING | RUNNING),
    *(("compare", "training", sign) for sign in (signal.SIGTERM, signal.SIGKILL)),
    *(
        ("serve", phase, sign)
        for phase in ("loading", "serving")
        for sign in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
    ),
]
SIGNS = STARTING | RUNNING | {"recommending": "all   ", "loading": "", "serving": "serving run one"}


@pytest.fixture(scope="module")
def table() -> Iterator[list[dict]]:
    rows: list[dict] = []
    yield rows
    print(*rows, sep="\n")
    if path := os.environ.get("FELLREC_INTERRUPTED_TABLE"):
        Path(path).write_text(json.dumps(rows, indent=1) + "\n")


def words(command: str, home: Path) -> list[str]:
    """The command, on the cheapest run that has the phase."""
    if command == "serve":
        federate(tiny_settings(home, num_server_rounds=1, split__on=True, run_name="one"))
        return ["serve", "one"]
    if command == "demo":
        return ["demo", *(word for key, value in SHORT.items() for word in ("--set", f"{key}={value}"))]
    settings = tiny_settings(home, split__on=True, federation__timeout=120.0, federation__nodes_timeout=120.0)
    recipe = str(write_settings(home / "recipe.toml", settings))
    return ["run", recipe] if command == "run" else ["compare", recipe, "--strategies", "fellrec,local", "--seeds", "1"]


@pytest.mark.parametrize(("what", "phase", "sign"), CASES, ids=lambda value: getattr(value, "name", value))
def test_nothing_is_left(fellrec_home: Path, what: str, phase: str, sign: signal.Signals, table: list[dict]) -> None:
    fellrec_home.mkdir(exist_ok=True)
    command = Interrupted(fellrec_home, words(what, fellrec_home))
    try:
        command.wait_for(SIGNS[phase])
        if phase == "loading":
            command.wait_for_library("libtorch")
        began = time.monotonic()
        status = command.interrupt(sign)
    finally:
        command.end()
    table.append(
        {
            "command": what,
            "phase": phase,
            "signal": sign.name,
            "status": status,
            "seconds": round(time.monotonic() - began, 1),
        }
    )
    assert "Traceback" not in command.said and "[FR999]" not in command.said
    if what == "serve":
        # before it knows what it will serve it is interrupted as any command is
        assert status in {0, -signal.SIGKILL} | ({130, 143} if phase == "loading" else set())
    else:
        # the last phases are short: it may have done all by then
        done = {0} if phase in ("measuring", "recommending") else set()
        assert status in {{signal.SIGINT: 130, signal.SIGTERM: 143}.get(sign, -sign)} | done
    if what == "compare" and sign is not signal.SIGKILL and phase not in ("preparing", "measuring"):
        assert "runs are kept, and the same command goes on with the others" in command.said
