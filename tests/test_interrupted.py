"""Ctrl-C: what a command started ends with it, what is done is kept, and it says how to go on."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from common.run_folder import RunFolder
from fellrec.flower import write_settings
from tests.federation import federate, tiny_settings
from tests.interrupted import Interrupted

pytestmark = pytest.mark.xdist_group("flower")


@pytest.mark.live
def test_a_comparison_that_is_interrupted_leaves_no_process_and_keeps_what_is_done(fellrec_home: Path) -> None:
    settings = tiny_settings(fellrec_home, num_server_rounds=500, federation__timeout=120.0)
    recipe = write_settings(fellrec_home / "recipe.toml", settings)
    done = {**settings, "num-server-rounds": 1, "strategy.name": "local", "run-name": "cmp-short-0"}
    federate(done)
    variants = [
        "--variant",
        "short: strategy.name=local num-server-rounds=1",
        "--variant",
        "long: strategy.name=fedavg",
    ]
    command = Interrupted(fellrec_home, ["compare", str(recipe), "--as", "cmp", "--seeds", "1", *variants])
    try:
        command.wait_for("round 1: ")
        assert command.interrupt(signal.SIGINT) == 130
    finally:
        command.end()
    assert "interrupted; 1 of 2 runs are kept, and the same command goes on with the others" in command.said
    assert "Traceback" not in command.said and "[FR999]" not in command.said
    kept = json.loads((fellrec_home / "comparisons/cmp/comparison.json").read_text())
    assert kept["runs"] == {"short": {"0": "cmp-short-0"}, "long": {}}
    assert RunFolder.find("cmp-long-0", str(fellrec_home)).last_checkpoint() is not None


@pytest.mark.live
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_service_ends_when_it_is_asked(fellrec_home: Path, sign: signal.Signals) -> None:
    federate(tiny_settings(fellrec_home, num_server_rounds=1, split__on=True, run_name="one"))
    command = Interrupted(fellrec_home, ["serve", "one"])
    try:
        command.wait_for("serving run one")
        assert command.interrupt(sign) == 0
    finally:
        command.end()
    assert "Traceback" not in command.said
