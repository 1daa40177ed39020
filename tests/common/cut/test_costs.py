from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig

from common.cut import FAMILIES, Cut, client_side, cost, server_side
from common.errors import ModelError
from tests.common.cut.tiny import CAUSAL, tiny_config


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_cost_is_what_the_sides_hold(tiny, family: str) -> None:
    causal = family in CAUSAL
    folder, cut = tiny(family, causal), Cut(2, 1)
    found = cost(folder, cut, causal, torch.bfloat16)
    client = sum(parameter.numel() for parameter in client_side(folder, cut, causal=causal).parameters())
    server = sum(parameter.numel() for parameter in server_side(folder, cut).parameters())
    assert (found["client"]["parameters"], found["server"]["parameters"]) == (client, server)
    assert found["whole"] == {"parameters": client + server, "bytes": 2 * (client + server)}
    assert cost(tiny_config(family), cut, causal, torch.bfloat16) == found


@pytest.mark.parametrize(
    ("k", "percent", "gibibytes"), [(1, 9.9, 1.24), (5, 21.9, None), (10, 36.9, None), (20, 67.0, 8.40)]
)
def test_the_papers_seven_billion_parameters(k: int, percent: float, gibibytes: float | None) -> None:
    found = cost(LlamaConfig(), Cut(k, 1), causal=True, dtype=torch.float16)
    assert found["whole"]["parameters"] == 6_738_415_616
    assert round(100 * found["client"]["bytes"] / found["whole"]["bytes"], 1) == percent
    assert gibibytes is None or round(found["client"]["bytes"] / 2**30, 2) == gibibytes


def test_an_impossible_cut_has_no_cost() -> None:
    with pytest.raises(ModelError, match="nearest cut"):
        cost(tiny_config("bert"), Cut(5, 0))
