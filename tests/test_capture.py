"""What crosses the wire in FedPA: every byte of a node's connection, in a run over real processes, looked through."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from client_app.click_state import ClickState
from client_app.memory import Memory
from common.config import from_flat
from common.data.click_division import divide
from common.data.click_folder import load_clicks, save_clicks
from common.home import clients_home
from common.recommenders.click.run import ClickRun, click_run
from common.scopes import Scope
from tests.clicks import click_settings
from tests.faults.live import Live
from tests.relay import Relay, relay

ALONE, TOGETHER = "phone", "ward"
"""A node with one user, and one with all the others."""


pytestmark = pytest.mark.slow


@dataclass
class Captured:
    click: ClickRun
    wire: Relay
    private: dict[str, Tensor]
    final: dict[str, Tensor]
    result: dict


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Captured]:
    folder = tmp_path_factory.mktemp("capture")
    home = folder / "home"
    settings = click_settings(home, run_name="captured", federation__timeout=120.0, federation__nodes_timeout=60.0)
    settings["federation.min-clients"] = 2
    log = load_clicks(home / "data" / "toy")
    clients = divide(log, settings["click.open-share"], settings["click.division"]).clients.tolist()
    for name, users in ((ALONE, clients[:1]), (TOGETHER, clients[1:])):
        save_clicks(log.restrict(users, name), folder / name)
    here = Live(folder, home)
    try:
        here.start_superlink()
        with relay(here.port) as wire:
            here.start_node(ALONE, folder / ALONE, wire.port)
            here.start_node(TOGETHER, folder / TOGETHER)
            here.run_settings("captured", settings)
    finally:
        here.end()
    click = click_run(from_flat(settings))
    kept = [Memory(clients_home(str(home)) / "captured" / ALONE)]
    private = ClickState.load(click.start(Scope.PRIVATE), kept, settings["num-server-rounds"] + 1)
    _, final = here.outcome("captured").last_checkpoint()
    yield Captured(click, wire, private.values, final, here.outcome("captured").result())


def names(captured: Captured, *scopes: Scope) -> set[str]:
    return {name for name, scope in captured.click.scopes.items() if scope in scopes}


def seen(captured: Captured, kept: list[bytearray]) -> set[str]:
    """The names of the model's tensors that stand in what was kept, each as a whole word."""
    text = b"".join(kept)
    return {
        name
        for name in captured.click.scopes
        if re.search(rb"(?<![\w.])" + re.escape(name.encode()) + rb"(?![\w.])", text)
    }


@pytest.mark.parametrize("way", ["up", "down"])
def test_the_names_on_the_wire_are_the_allow_list(captured: Captured, way: str) -> None:
    allowed = names(captured, Scope.GROUP, Scope.SHARED)
    private = names(captured, Scope.PRIVATE)
    assert any(name.startswith("user_embeddings.") for name in private) and any(".user." in name for name in private)
    assert seen(captured, getattr(captured.wire, way)) == allowed


def test_no_private_and_no_frozen_value_is_on_the_wire(captured: Captured) -> None:
    text = b"".join(captured.wire.up) + b"".join(captured.wire.down)
    for name, values in captured.click.start(Scope.FROZEN).items():
        assert values.numpy().tobytes() not in text, name
    start = captured.click.start(Scope.PRIVATE)
    moved = 0
    for name, values in captured.private.items():
        if not torch.equal(values[0], start[name]):
            moved += 1
        numbers = values[0].numpy().tobytes()
        assert numbers[:16] not in text and numbers[-16:] not in text, name
    assert moved > len(captured.private) / 2


def test_a_shared_value_is_found_there_so_that_a_private_one_would_be(captured: Captured) -> None:
    text = b"".join(captured.wire.down)
    shared = [name for name in names(captured, Scope.SHARED) if captured.final[f"shared/{name}"].numel() >= 4]
    assert shared
    for name in shared:
        assert captured.final[f"shared/{name}"].numpy().tobytes() in text, name


def test_the_wire_carries_no_fewer_bytes_than_the_result_says(captured: Captured) -> None:
    up = sum(map(len, captured.wire.up))
    told = captured.result["cost"]["client"]["bytes_up"] * captured.result["run"]["rounds"]
    assert told < up, "a message is no smaller on the wire"
