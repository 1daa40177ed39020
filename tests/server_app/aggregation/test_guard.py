from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import MessageError
from server_app.aggregation.guard import capped_sizes, out_of_proportion, proportions, row_norms, update_norms
from tests.server_app.aggregation.toy import adapter


def test_norms_are_of_the_update_per_square_root_of_the_examples() -> None:
    start = {"a": torch.ones(2, 2), "b": torch.zeros(3)}
    sent = {"a": torch.ones(2, 2) + 1.5, "b": torch.tensor([0.0, 4.0, 0.0])}
    norms = update_norms([sent, start], [start, start], torch.tensor([25, 4]))
    assert norms.tolist() == [5.0 / 5.0, 0.0] and norms.dtype == torch.float64


def test_the_largest_values_that_a_message_may_hold_overflow_nothing() -> None:
    far = {"a": torch.full((1000,), 1e30)}
    assert torch.isfinite(update_norms([far], [{"a": torch.zeros(1000)}], torch.tensor([1]))).all()


def test_rows_of_stacked_uploads() -> None:
    stacked = {"a": torch.tensor([[3.0], [0.0]]), "b": torch.tensor([[[4.0]], [[2.0]]])}
    assert row_norms(stacked).tolist() == [5.0, 2.0]


def test_each_is_held_against_the_median_of_the_others() -> None:
    assert proportions(torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)).tolist() == [1 / 4, 2 / 4, 4 / 2]


@given(n=st.integers(3, 9), hostile=st.integers(0, 8), size=st.floats(0, 1e30), seed=st.integers(0, 50))
@settings(max_examples=60, deadline=None)
def test_one_client_however_large_makes_no_honest_one_look_out_of_proportion(n, hostile, size, seed) -> None:
    norms = 1 + torch.rand(n, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    norms[hostile % n] = size
    found = proportions(norms)
    assert all(ratio <= 2.0 for place, ratio in enumerate(found.tolist()) if place != hostile % n)
    assert found[hostile % n] > 3 or size <= 6


def test_two_clients_cannot_be_told_apart_and_those_who_stand_still_are_no_measure() -> None:
    assert proportions(torch.tensor([1.0, 100.0])).tolist() == [1.0, 1.0]
    assert proportions(torch.tensor([0.0, 0.0, 5.0])).tolist() == [0.0, 0.0, 1.0]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_a_norm_that_is_none_is_refused(value: float) -> None:
    with pytest.raises(MessageError, match="not finite"):
        proportions(torch.tensor([1.0, value, 1.0]))


def test_no_size_outweighs_all_others_together() -> None:
    sizes = capped_sizes(torch.tensor([10, 10, 10**15]), 0.6)
    assert sizes.tolist() == pytest.approx([10, 10, 30]) and float(sizes[2] / sizes.sum()) == pytest.approx(0.6)
    assert capped_sizes(torch.tensor([100, 120, 200]), 0.6).tolist() == [100, 120, 200]
    assert capped_sizes(torch.tensor([1, 1000]), 0.6).tolist() == [1, 1000]
    assert capped_sizes(torch.tensor([1, 1, 1000]), 1.0).tolist() == [1, 1, 1000]


def test_the_error_names_client_ratio_and_setting() -> None:
    error = out_of_proportion("shop-a", 100.04, "guard.factor", 3.0)
    assert error.code == "FR450" and "'shop-a' is 100 times" in str(error) and "'guard.factor' = 3" in str(error)


def test_toy_adapters_are_of_one_proportion() -> None:
    adapters = [adapter(seed) for seed in range(5)]
    found = proportions(update_norms(adapters, [adapter(9)] * 5, torch.ones(5)))
    assert float(found.max()) < 2
