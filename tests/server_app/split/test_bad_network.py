"""Whatever a network drops, repeats, delays or cuts, every step is applied exactly once."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from client_app.link import SplitLink
from client_app.trunk import RemoteTrunk
from common.cut import Cut
from common.wire import Codec
from server_app.split.settings import Limits
from tests.server_app.split.chaos import BadNetwork
from tests.server_app.split.tiny import (
    SEED,
    batch,
    link_settings,
    loss_of,
    optimiser,
    trained,
    trained_client,
)

CUT = Cut(1, 1)
RATE = 0.01


def train(link: SplitLink, folder: Path) -> dict[str, Tensor]:
    """Steps with gradient accumulation; the client's own adapter after them."""
    client = trained_client(folder, "bert", CUT, RemoteTrunk(link))
    own = optimiser(client, RATE)
    for step in range(8):
        for micro in range(1 + step % 3):
            loss_of(client, batch(10 * step + micro)).backward()
        own.step()
        own.zero_grad()
        link.step(RATE)
    return {name: parameter.detach().clone() for name, parameter in trained(client).items()}


@pytest.mark.parametrize(("rung", "codec"), [("graph", Codec.FP32), ("input", Codec.FP32), ("sent again", Codec.INT8)])
def test_adapters_are_those_of_a_good_network(make_host, folders: dict[str, Path], rung: str, codec: Codec) -> None:
    limits = {"graph": Limits(), "input": Limits(graph_bytes=0), "sent again": Limits(graph_bytes=0, input_bytes=0)}[
        rung
    ]
    host = make_host(limits=limits)
    address = host.start()
    host.begin("good", 1, RATE, SEED)
    settings = link_settings(
        "bert", CUT, codec=codec, reply_seconds=0.2, first_wait=0.001, longest_wait=0.02, attempts=60
    )
    with SplitLink(address, host.mint("good", 60), settings) as link:
        expected = train(link, folders["bert"])
    host.commit("good", 1)

    network = BadNetwork(address, seed=len(rung), rate=0.25)
    host.begin("bad", 1, RATE, SEED)
    with SplitLink(network.address, host.mint("bad", 60), settings) as link:
        found = train(link, folders["bert"])
    network.stop()
    host.commit("bad", 1)
    for key, tensor in expected.items():
        assert torch.equal(found[key], tensor), key
    hosted = host.adapter("bad")
    for key, tensor in host.adapter("good").items():
        assert torch.equal(hosted[key], tensor), key
    assert {"drop", "repeat", "late copy"} <= {fault.split(" ", 1)[1] for fault in network.met}
    assert any("cut" in fault for fault in network.met)
