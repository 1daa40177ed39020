from __future__ import annotations

import pytest
import torch

from common.errors import ConfigError, RunError
from server_app.aggregation.history import RoundAverage
from tests.server_app.aggregation.toy import WIDTHS, adapter, equal, product, refactored


def test_the_mean_covers_the_last_rounds_of_each_client():
    average = RoundAverage(window=2, merge="factors")
    for value in (100.0, 2.0, 4.0):
        average.add({"a": {"x": torch.tensor([value])}})
    average.add({"b": {"x": torch.tensor([7.0])}})
    assert average.mean("a")["x"].item() == 3.0
    assert average.mean("b")["x"].item() == 7.0
    assert "b" in average and "c" not in average


def test_a_product_mean_does_not_depend_on_how_rounds_were_factored():
    first, second = adapter(0), adapter(1)
    means = []
    for rounds in ([first, second], [refactored(first), second]):
        average = RoundAverage(window=2, merge="product")
        for mixed in rounds:
            average.add({"a": mixed})
        means.append(average.mean("a"))
    for layer in WIDTHS:
        u, s, vt = torch.linalg.svd((product(first, layer) + product(second, layer)) / 2, full_matrices=False)
        best = (u[:, :2] * s[:2]) @ vt[:2]
        assert all(torch.allclose(product(mean, layer), best, atol=1e-5) for mean in means)


@pytest.mark.parametrize("merge", ["factors", "product"])
def test_the_mean_of_one_round_is_that_round(merge):
    average = RoundAverage(window=3, merge=merge)
    average.add({"a": adapter(0)})
    assert equal(average.mean("a"), adapter(0))


def test_the_state_survives_a_checkpoint():
    average = RoundAverage(window=2, merge="factors")
    for seed in range(3):
        average.add({"shop/eu": adapter(seed), "shop": adapter(seed + 10)})
    state = average.state_dict()
    assert all(isinstance(tensor, torch.Tensor) for tensor in state.values()) and len(state) == 2 * 2 * 5
    restored = RoundAverage(window=2, merge="factors")
    restored.add({"stale": adapter(0)})
    restored.load_state(state)
    for client in ("shop/eu", "shop"):
        assert equal(restored.mean(client), average.mean(client))
    restored.add({"shop": adapter(20)})
    average.add({"shop": adapter(20)})
    assert equal(restored.mean("shop"), average.mean("shop"))
    with pytest.raises(RunError, match="'stale'"):
        restored.mean("stale")


def test_a_shorter_window_takes_the_newest_part_of_the_state():
    average = RoundAverage(window=12, merge="factors")
    for value in range(12):
        average.add({"a": {"x": torch.tensor([float(value)])}})
    restored = RoundAverage(window=2, merge="factors")
    restored.load_state(average.state_dict())
    assert restored.mean("a")["x"].item() == 10.5


def test_bad_settings_and_states_are_refused():
    with pytest.raises(ConfigError, match="window is 0"):
        RoundAverage(window=0, merge="factors")
    for key in ("a/x", "a/-1/x", "a/one/x", "/0/x", "a/0/"):
        with pytest.raises(RunError, match="averaging state"):
            RoundAverage(window=1, merge="factors").load_state({key: torch.zeros(1)})
