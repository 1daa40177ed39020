"""The real thing, small: Flower's simulation engine with Ray, started as a user would, beside a Flower already running."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from common.run_folder import RunFolder
from fellrec.flower import own_superlink
from tests.federation import federate, tiny_settings

pytestmark = pytest.mark.xdist_group("flower")
CHECKOUT = Path(__file__).resolve().parents[1]
RESULT_KEYS = {
    "run": {
        "id",
        "commit",
        "created",
        "recipe",
        "seed",
        "strategy",
        "recommender",
        "model",
        "versions",
        "rounds",
        "clients",
        "split",
        "mode",
        "seconds",
    },
    "data": {"name", "digest", "users", "items", "interactions", "split", "generated", "untested"},
    "metrics": {"test", "clients", "balance", "baselines"},
    "cost": {"client", "server"},
    "privacy": {"mechanism", "epsilon", "delta", "assumptions", "leak"},
}


def fellrec(home: Path, *arguments: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"FELLREC_HOME": str(home), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", "from fellrec.cli import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=400, env=environment, cwd=home)


@pytest.mark.live
def test_a_run_through_flower_gives_the_numbers_of_the_one_in_process(fellrec_home: Path) -> None:
    settings = tiny_settings(
        fellrec_home, run_name="flower", federation__timeout=120.0, federation__nodes_timeout=120.0
    )
    recipe = fellrec_home / "recipe.toml"
    recipe.write_text("".join(f'"{key}" = {_toml(value)}\n' for key, value in settings.items()))
    with own_superlink():
        done = fellrec(fellrec_home, "run", str(recipe), "--set", "run-name=flower")
    assert done.returncode == 0, done.stdout + done.stderr
    federate(settings | {"run-name": "in-process"})
    one, other = (RunFolder.find(name, str(fellrec_home)).result() for name in ("flower", "in-process"))
    assert one["metrics"] == other["metrics"] and [r["loss"] for r in one["rounds"]] == [
        r["loss"] for r in other["rounds"]
    ]
    for section, keys in RESULT_KEYS.items():
        assert keys <= one[section].keys()
    assert one["run"]["mode"] == "simulation" and one["run"]["commit"]
    assert not list((fellrec_home / "flower").iterdir()), "the command's own SuperLink folders are gone"


@pytest.mark.live
def test_the_superlink_of_a_command_ends_with_it(fellrec_home: Path) -> None:
    with own_superlink() as flower:
        address = flower.folder.joinpath("config.toml").read_text().split('address = "')[1].split('"')[0]
        assert httpx.get(f"http://{address}/health").is_success
    host, port = address.split(":")
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex((host, int(port))) != 0:
                return
        time.sleep(0.1)
    pytest.fail("the SuperLink still answers")


def _toml(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value).lower()
