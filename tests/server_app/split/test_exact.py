"""The split gives what the whole model gives, to the bit: losses, gradients and adapters, over 20 optimiser steps."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from client_app.link import SplitLink
from client_app.trunk import RemoteTrunk
from common.cut import Cut
from server_app.split.settings import Limits
from tests.server_app.split.tiny import (
    SEED,
    batch,
    link_settings,
    loss_of,
    optimiser,
    trained,
    trained_client,
    trained_whole,
)

RUNGS = {
    "graph": Limits(),
    "input": Limits(graph_bytes=0),
    "sent again": Limits(graph_bytes=0, input_bytes=0),
}
RATE = 0.01
TWENTY = [("bert", Cut(1, 1), rung, 20) for rung in RUNGS]
TWENTY += [
    ("llama", Cut(1, 1), "graph", 20),
    ("gpt2", Cut(1, 1), "input", 20),
    ("longformer", Cut(1, 1), "sent again", 20),
]
FEW = [("bert", Cut(k, m), "graph", 3) for k in range(3) for m in range(3) if k + m != 1]
FEW += [(kind, Cut(2, 1), rung, 3) for kind in ("llama", "gpt2", "longformer") for rung in RUNGS]
EVERY = [
    pytest.param(kind, Cut(k, m), rung, 20, marks=pytest.mark.slow)
    for kind in ("bert", "llama", "gpt2")
    for k in range(3)
    for m in range(3)
    for rung in RUNGS
]
FEW += [("llama", Cut(0, 0), "graph", 3), ("gpt2", Cut(0, 2), "graph", 3), ("bert", Cut(0, 1), "graph", 3)]


@pytest.mark.parametrize(("kind", "cut", "rung", "steps"), TWENTY + FEW + EVERY, ids=str)
def test_training_is_that_of_the_whole_model(
    make_host, folders: dict[str, Path], kind: str, cut: Cut, rung: str, steps: int
) -> None:
    host = make_host(kind, cut, limits=RUNGS[rung])
    address = host.start()
    host.begin("ann", 1, RATE, SEED)
    with SplitLink(address, host.mint("ann", 60), link_settings(kind, cut)) as link:
        client = trained_client(folders[kind], kind, cut, RemoteTrunk(link))
        whole = trained_whole(folders[kind], kind)
        ours, theirs = optimiser(client, RATE), optimiser(whole, RATE)
        for step in range(steps):
            for part in range(2 if step % 5 == 0 else 1):
                inputs = batch(100 * step + part, left=kind in ("llama", "gpt2") and step % 2 == 0)
                expected, found = loss_of(whole, inputs), loss_of(client, inputs)
                assert torch.equal(found, expected)
                expected.backward()
                found.backward()
            in_whole = trained(whole)
            for name, parameter in trained(client).items():
                assert torch.equal(parameter.grad, in_whole[name].grad), name
            for one in (ours, theirs):
                one.step()
                one.zero_grad()
            link.step(RATE)
        assert link.bytes_up > 0 and link.bytes_down > 0
    rungs = {
        sample.labels["rung"]
        for metric in host.metrics.collect()
        for sample in metric.samples
        if "rung" in sample.labels
    }
    assert rungs == {rung}
    host.commit("ann", 1)
    hosted, in_whole = host.adapter("ann"), trained(whole)
    assert {*hosted, *trained(client)} == in_whole.keys()
    for name, tensor in hosted.items():
        assert torch.equal(tensor, in_whole[name]), name
    assert host.held_bytes == 0
