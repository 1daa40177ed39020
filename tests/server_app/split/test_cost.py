"""server_app/split/cost.py: padding and attention are charged."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoConfig, AutoModel

from common.cut import Cut, server_side
from common.wire import Rows
from server_app.split.cost import REQUEST, Cost, Speed

CUT = Cut(1, 1)


def rows(count: int, width: int, tokens: int | None = None, globals_: int = 0) -> Rows:
    """Rows whose tokens stand on the left."""
    return Rows(width, (0,) * count, (tokens or width,) * count, True, tuple(range(globals_)))


def test_padding_costs_what_tokens_cost(folders: dict[str, Path]) -> None:
    cost = Cost.of(server_side(folders["bert"], CUT))
    assert cost.charge(rows(2, 40, tokens=1)) == cost.charge(rows(2, 40)) > 80
    assert cost.positions == 40 and cost.multiple == 1


def test_attention_makes_wide_rows_dearer_than_as_many_cells_in_short_ones(folders: dict[str, Path]) -> None:
    cost = Cost.of(server_side(folders["llama"], CUT))
    short, wide = cost.charge(rows(1024, 24)), cost.charge(rows(1, 24_576))
    assert wide > 50 * short
    # quadratic, once attention is what counts
    assert 3.5 < cost.charge(rows(1, 49_152)) / wide < 4.5
    # a decode looks back at everything before it
    assert cost.charge(rows(1, 1), past=24_575) > 24_576 * cost.pair


def test_a_window_is_all_that_is_looked_at_unless_tokens_are_global(folders: dict[str, Path]) -> None:
    cost = Cost.of(server_side(folders["longformer"], CUT))
    assert cost.window == cost.multiple == 4 and cost.positions == 60
    assert cost.charge(rows(1, 4000)) < 1.01 * 1000 * cost.charge(rows(1, 4)) * (1 + 8 * cost.pair)
    assert cost.charge(rows(1, 4000, globals_=4000)) > 10 * cost.charge(rows(1, 4000))


@pytest.mark.parametrize("kind", ["bert", "llama", "longformer"])
def test_the_largest_charge_is_that_of_the_largest_request(folders: dict[str, Path], kind: str) -> None:
    cost = Cost.of(server_side(folders[kind], CUT))
    widest = cost.positions
    everywhere = widest if kind == "longformer" else 0
    assert cost.most(5 * widest, 0) >= cost.charge(rows(5, widest, globals_=everywhere))
    assert cost.most(80, 16) == cost.charge(rows(5, 16, globals_=min(everywhere, 16))) < cost.most(80, 0)


def test_any_request_is_worth_something_and_less_beside_a_large_model(folders: dict[str, Path]) -> None:
    trunk = server_side(folders["bert"], CUT)
    weights = sum(parameter.numel() for parameter in trunk.parameters() if parameter.ndim > 1)
    assert Cost.of(trunk).overhead == REQUEST // weights > 100


def test_layers_without_a_configuration_are_charged_their_cells() -> None:
    assert Cost.of(nn.Linear(3, 3)).charge(rows(3, 5)) == 15


def test_small_passes_do_not_make_the_machine_look_slow() -> None:
    speed = Speed()
    assert speed.seconds(1 << 30) == 0 == speed.overhead
    speed.note(1000, 0.5)
    for _ in range(100):
        speed.note(1, 0.1)
    assert speed.seconds(4000) == 2.0
    # which take a tenth of a second each, whatever they cost
    assert speed.overhead == 200


def test_the_charge_follows_the_time_that_rows_take() -> None:
    """Operations, not seconds: counted for rows of many widths, each of the same number of cells."""
    config = AutoConfig.for_model(
        "bert",
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=256,
        vocab_size=10,
        max_position_embeddings=2048,
    )
    model = AutoModel.from_config(config, attn_implementation="eager").eval()
    layers = model.encoder
    layers.config = config
    cost, flops = Cost.of(layers), {}
    for width in (32, 512, 2048):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(inputs_embeds=torch.zeros(2048 // width, width, 64))
        flops[width] = counter.get_total_flops()
    for width in (512, 2048):
        charged = cost.charge(rows(2048 // width, width)) / cost.charge(rows(64, 32))
        # at least the multiplications, at most twice as much: the softmax costs time too
        assert 1 <= charged / (flops[width] / flops[32]) < 2
