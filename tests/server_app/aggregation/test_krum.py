from __future__ import annotations

import pytest
import torch

from common.errors import ConfigError
from server_app.aggregation.krum import Krum
from tests.server_app.aggregation.toy import adapter, updates


def near(seed: int, size: float = 0.01) -> dict[str, torch.Tensor]:
    drawn = adapter(seed)
    return {name: tensor + size * drawn[name] for name, tensor in adapter(100).items()}


@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize("size", [1.0, 1e6])
def test_the_client_far_from_all_others_is_left_out(place: int, size: float) -> None:
    sent = [near(seed) for seed in range(5)]
    sent[place] = near(50, size)
    weights = Krum(hostile=1).weights(updates(sent))
    assert (weights[:, place] == 0).all() and (weights[:, [i for i in range(5) if i != place]] == 0.25).all()


def test_two_hostile_clients_who_agree_with_each_other_are_left_out() -> None:
    sent = [*(near(seed) for seed in range(5)), near(50, 1.0), near(50, 1.0001)]
    weights = Krum(hostile=2).weights(updates(sent))
    assert weights[0].nonzero().flatten().tolist() == [0, 1, 2, 3, 4]


def test_distances_far_below_the_adapters_own_size_count() -> None:
    """A Gram matrix in float32 would see five equal adapters."""
    base = {name: tensor * 1e4 for name, tensor in adapter(100).items()}
    sent = [
        {name: tensor + (0.5 if place == 3 else 0.01 * place) for name, tensor in base.items()} for place in range(5)
    ]
    assert float(Krum(hostile=1).weights(updates(sent))[0, 3]) == 0.0


def test_two_clients_always_remain() -> None:
    assert Krum(hostile=3).weights(updates([near(0), near(1)])).tolist() == [[0.5, 0.5], [0.5, 0.5]]


def test_nobody_hostile_is_another_strategy() -> None:
    with pytest.raises(ConfigError, match="'robust.hostile' = 0"):
        Krum(0)
