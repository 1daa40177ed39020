from __future__ import annotations

import gc
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from common.cut import Cut, server_side
from common.wire import Rows
from server_app.split.adapter import HostedAdapter, initial
from server_app.split.lora import HostedTrunk, Unmixable
from server_app.split.passes import Member, Pass
from server_app.split.settings import AdamW, HostedLora
from tests.server_app.split.tiny import TARGETS, WIDTH


@pytest.fixture
def trunk(folders: dict[str, Path]) -> HostedTrunk:
    return HostedTrunk(server_side(folders["bert"], Cut(1, 1)), HostedLora(TARGETS["bert"]), str)


def member(trunk: HostedTrunk, seed: int, rows: int = 2, width: int = 5) -> Member:
    hidden = torch.randn(rows, width, WIDTH, generator=torch.Generator().manual_seed(seed))
    shape = Rows.of(hidden, None, None)
    adapter = HostedAdapter(initial(trunk.shapes, 8, seed), AdamW(), trunk.device)
    return Member(adapter, shape, shape.pack(hidden))


def test_a_pass_that_is_given_up_frees_its_graph(trunk: HostedTrunk) -> None:
    one = member(trunk, 1)
    Pass(trunk, [one], held=True)
    gc.collect()
    before = sum(isinstance(thing, Tensor) for thing in gc.get_objects())
    for _ in range(20):
        Pass(trunk, [one], held=True)
    gc.collect()
    assert sum(isinstance(thing, Tensor) for thing in gc.get_objects()) <= before


def test_a_held_pass_knows_its_size(trunk: HostedTrunk) -> None:
    small, large = member(trunk, 1), member(trunk, 1, rows=8)
    assert Pass(trunk, [small], held=False).nbytes == 0
    ratio = Pass(trunk, [large], held=True).nbytes / Pass(trunk, [small], held=True).nbytes
    assert 2 < ratio <= 4


def test_rows_of_another_client_do_not_reach_an_adapter(trunk: HostedTrunk) -> None:
    one, other = member(trunk, 1), member(trunk, 2, width=7)
    made = Pass(trunk, [one, other], held=True)
    zeros, ones = torch.zeros_like(one.tokens), torch.ones_like(other.tokens)
    (_, untouched), (_, touched) = made.backward([zeros, ones])
    assert all((gradient == 0).all() for gradient in untouched)
    assert any((gradient != 0).any() for gradient in touched)


class Flat(nn.Module):
    """Layers that see tokens without rows."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(WIDTH, WIDTH)

    def forward(self, hidden: Tensor, mask: Tensor | None, positions: Tensor | None) -> Tensor:
        return self.query(hidden.flatten(0, 1)).view(hidden.shape)


def test_layers_without_an_axis_of_rows_serve_one_client_at_a_time() -> None:
    trunk = HostedTrunk(Flat(), HostedLora(("query",)), str)
    assert Pass(trunk, [member(trunk, 1)], held=False).outputs[0].shape == (10, WIDTH)
    with pytest.raises(Unmixable, match="query"):
        Pass(trunk, [member(trunk, 1), member(trunk, 2)], held=False)


class Turned(nn.Module):
    """Layers that put columns before rows."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(WIDTH, WIDTH)

    def forward(self, hidden: Tensor, mask: Tensor | None, positions: Tensor | None) -> Tensor:
        return self.query(hidden.transpose(0, 1)).transpose(0, 1)


def test_as_many_rows_as_columns_are_told_apart_by_what_was_seen_before() -> None:
    trunk = HostedTrunk(Turned(), HostedLora(("query",)), str)
    square = [member(trunk, 1, rows=2, width=4), member(trunk, 2, rows=2, width=4)]
    for one in square:
        one.adapter.load({name: tensor + 0.1 for name, tensor in one.adapter.tensors().items()})
    with pytest.raises(Unmixable):
        Pass(trunk, square, held=False)
    alone = [Pass(trunk, [one], held=False).outputs[0] for one in square]
    together = Pass(trunk, square, held=False).outputs
    for found, expected in zip(together, alone, strict=True):
        assert torch.allclose(found, expected, rtol=1e-5, atol=1e-6)
