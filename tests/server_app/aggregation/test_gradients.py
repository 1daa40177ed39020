from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import MessageError, RunError
from server_app.aggregation.gradients import BETAS, EPSILON, ServerAdam, mean_by_group


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), min_size=1, max_size=12), st.integers(0, 99))
def test_the_mean_is_that_of_each_groups_rows(rows: list[tuple[int, int]], seed: int) -> None:
    torch.manual_seed(seed)
    groups, weights = (torch.tensor(column) for column in zip(*rows, strict=True))
    values = torch.randn(len(rows), 2, 3)
    means, members = mean_by_group(values, groups, weights, 4)
    for group in range(4):
        own = (groups == group) & (weights > 0)
        assert members[group] == own.sum()
        expected = (
            (values[own] * weights[own, None, None]).sum(0) / weights[own].sum() if own.any() else torch.zeros(2, 3)
        )
        torch.testing.assert_close(means[group], expected)


def test_what_cannot_be_averaged_is_refused() -> None:
    values, ones = torch.ones(2, 3), torch.ones(2)
    for groups, weights, spoilt in (
        ([0, 4], ones, values),
        ([0, 1], torch.tensor([1.0, -1.0]), values),
        ([0], ones, values),
        ([0, 1], ones, values.clone().fill_(float("inf"))),
        ([0, 1], torch.tensor([1.0, float("nan")]), values),
    ):
        with pytest.raises(MessageError):
            mean_by_group(spoilt, torch.tensor(groups), weights, 2)
    spoilt = torch.tensor([[1.0], [float("nan")]])
    means, _ = mean_by_group(spoilt, torch.tensor([0, 0]), torch.tensor([1.0, 0.0]), 1)
    assert means.item() == 1.0


def test_a_row_steps_as_torchs_adam_and_waits_where_it_has_no_gradient() -> None:
    torch.manual_seed(0)
    begun = torch.randn(2, 3)
    alone = begun[0].clone().requires_grad_()
    reference, adam, table = torch.optim.Adam([alone], lr=0.1, betas=BETAS, eps=EPSILON), ServerAdam(), begun.clone()
    for place in range(5):
        gradient = torch.randn(2, 3)
        rows = torch.tensor([True, place == 2])
        table = adam.step("t", table, gradient, rows, 0.1)
        alone.grad = gradient[0].clone()
        reference.step()
        if place < 2:
            assert torch.equal(table[1], begun[1])
    torch.testing.assert_close(table[0], alone.detach())
    assert not torch.equal(table[1], begun[1]) and (table[1] - begun[1]).abs().max() < 0.1001


def test_its_state_goes_on_after_a_checkpoint() -> None:
    first, second, table = ServerAdam(), ServerAdam(), torch.zeros(2, 1)
    rows, gradient = torch.ones(2, dtype=torch.bool), torch.ones(2, 1)
    table = first.step("a/b", table, gradient, rows, 0.1)
    second.load_state(first.state_dict())
    assert torch.equal(*(adam.step("a/b", table, -gradient, rows, 0.1) for adam in (first, second)))
    with pytest.raises(RunError, match="second"):
        ServerAdam().load_state({"t/first": table, "t/steps": table})
