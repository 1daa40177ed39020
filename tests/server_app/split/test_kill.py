"""Hosts are killed (SIGKILL) at every boundary of every operation and restarted; the adapters are those of an unbroken
run, to the bit.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from client_app.link import SplitLink
from client_app.trunk import RemoteTrunk
from common.cut import client_side
from tests.server_app.split.host_process import CUT
from tests.server_app.split.tiny import (
    SEED,
    WIDTH,
    batch,
    host_for,
    link_settings,
    loss_of,
    model_folder,
    optimiser,
    trained,
    trained_client,
)

CHECKOUT = Path(__file__).resolve().parents[3]
STEPS, MICROS, RATE = 3, 2, 0.01
OPS = ("OP_FORWARD", "OP_BACKWARD", "OP_STEP")
PLACES = ("received", "computed", "answered")
CASES = [((place, op, MICROS + 2 if op != "OP_STEP" else 2), "graph") for op in OPS for place in PLACES]
CASES += [(("unsaved", "", 2), "graph"), (("saved", "", 2), "graph"), (("answered", "OP_STEP", STEPS), "graph")]
CASES += [(("received", "OP_BACKWARD", 2), "input"), (("computed", "OP_BACKWARD", 2), "input")]


def train(link: SplitLink, folder: Path) -> dict[str, Tensor]:
    """Some steps with gradient accumulation; the client's own adapter after them."""
    client = trained_client(folder, "bert", CUT, RemoteTrunk(link))
    own = optimiser(client, RATE)
    for step in range(STEPS):
        for micro in range(MICROS):
            loss_of(client, batch(10 * step + micro)).backward()
        own.step()
        own.zero_grad()
        link.step(RATE)
    return {name: parameter.detach().clone() for name, parameter in trained(client).items()}


def free_port() -> int:
    """A port below those that the system gives to outgoing connections: while the host is dead nobody may take it."""
    for port in random.sample(range(20_000, 30_000), 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no free port between 20,000 and 30,000")


@pytest.fixture(scope="module")
def processes() -> Iterator[subprocess.Popen[str]]:
    """Forks hosts; importing torch once is enough."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.server_app.split.host_process"],
        cwd=CHECKOUT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TRANSFORMERS_VERBOSITY": "error"},
    )
    yield process
    process.communicate(timeout=20)


@pytest.fixture(scope="module")
def unbroken(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, dict]:
    """The client's and the hosted adapter of a run without a fault."""
    host = host_for(folders["bert"], "bert", CUT, tmp_path_factory.mktemp("unbroken"))
    address = host.start()
    host.begin("ann", 1, RATE, SEED)
    with SplitLink(address, host.mint("ann", 60), link_settings("bert", CUT)) as link:
        own = train(link, folders["bert"])
    host.commit("ann", 1)
    hosted = host.adapter("ann")
    host.stop(0)
    return own, hosted


@pytest.mark.parametrize(("death", "rung"), CASES, ids=str)
def test_a_killed_host_goes_on_where_it_stood(
    processes: subprocess.Popen[str],
    folders: dict[str, Path],
    tmp_path: Path,
    unbroken: tuple[dict, dict],
    death: tuple[str, str, int],
    rung: str,
) -> None:
    port = free_port()
    case = {
        "folder": str(folders["bert"]),
        "kind": "bert",
        "state": str(tmp_path),
        "port": port,
        "death": death,
        "rung": rung,
    }
    print(json.dumps(case), file=processes.stdin, flush=True)
    first = json.loads(processes.stdout.readline())
    with SplitLink(first["address"], first["token"], link_settings("bert", CUT, attempts=20)) as link:
        own = train(link, folders["bert"])
        second = json.loads(processes.stdout.readline())
        # where the host dies after the last reply, this finds out, and what was lost is made again
        link.infer(torch.zeros(1, 1, WIDTH))
    os.kill(second["pid"], signal.SIGTERM)
    assert json.loads(processes.stdout.readline()) == {"deaths": 1, "status": 0}

    restored = host_for(folders["bert"], "bert", CUT, tmp_path)
    restored.commit("ann", 1)
    hosted = restored.adapter("ann")
    restored.stop(0)
    expected_own, expected_hosted = unbroken
    assert own.keys() == expected_own.keys() and hosted.keys() == expected_hosted.keys()
    for name in own:
        assert torch.equal(own[name], expected_own[name]), name
    for name in hosted:
        assert torch.equal(hosted[name], expected_hosted[name]), name


@pytest.mark.parametrize("place", PLACES)
def test_a_host_killed_in_mid_generation_changes_no_token(
    processes: subprocess.Popen[str], tmp_path: Path, place: str
) -> None:
    folder = model_folder("llama", tmp_path / "model", causal=True)
    case = {
        "folder": str(folder),
        "kind": "llama",
        "state": str(tmp_path / "state"),
        "port": free_port(),
        "death": (place, "OP_DECODE", 3),
        "rung": "graph",
    }
    inputs = batch(5, left=True)
    settings = {"max_new_tokens": 8, "min_new_tokens": 8, "num_beams": 4, "do_sample": False}
    print(json.dumps(case), file=processes.stdin, flush=True)
    first = json.loads(processes.stdout.readline())
    with SplitLink(first["address"], first["token"], link_settings("llama", CUT, attempts=20)) as link:
        found = client_side(folder, CUT, RemoteTrunk(link), True).generate(**inputs, **settings)
    second = json.loads(processes.stdout.readline())
    os.kill(second["pid"], signal.SIGTERM)
    assert json.loads(processes.stdout.readline()) == {"deaths": 1, "status": 0}
    assert torch.equal(found, AutoModelForCausalLM.from_pretrained(folder).generate(**inputs, **settings))
