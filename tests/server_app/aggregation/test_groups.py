from __future__ import annotations

import hypothesis
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from common.errors import MessageError
from server_app.aggregation.groups import group_means, mean_of_all

PROPERTY = hypothesis.settings(deadline=None, max_examples=40)
CLIENTS, GROUPS, RANK, D_IN, D_OUT = 6, 3, 2, 5, 4


def paths(seed: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(
        torch.randn(shape, generator=generator, dtype=torch.float64)
        for shape in ((CLIENTS, RANK, D_IN), (CLIENTS, D_OUT, RANK), (GROUPS, RANK, D_IN), (GROUPS, D_OUT, RANK))
    )


GROUP_LISTS = st.lists(st.integers(0, GROUPS - 1), min_size=CLIENTS, max_size=CLIENTS)
WEIGHTS = st.lists(st.floats(0, 5), min_size=CLIENTS, max_size=CLIENTS)


@PROPERTY
@given(GROUP_LISTS, WEIGHTS, st.integers(0, 99))
def test_each_group_gets_the_best_product_of_its_rank(groups: list[int], weights: list[float], seed: int) -> None:
    a, b, server_a, server_b = paths(seed)
    of, w = torch.tensor(groups), torch.tensor(weights, dtype=torch.float64)
    found = group_means(a, b, of, w, server_a, server_b)
    for group in range(GROUPS):
        own = (of == group) & (w > 0)
        assert found.members[group] == own.sum()
        if not own.any():
            assert torch.equal(found.a[group], server_a[group]) and torch.equal(found.b[group], server_b[group])
            continue
        mean = torch.einsum("n,nor,nri->oi", w[own] / w[own].sum(), b[own], a[own])
        u, s, vt = torch.linalg.svd(mean, full_matrices=False)
        best = u[:, :RANK] * s[:RANK] @ vt[:RANK]
        torch.testing.assert_close(found.b[group] @ found.a[group], best, atol=1e-8, rtol=1e-6)
        torch.testing.assert_close(
            found.discarded[group], s[RANK:].square().sum() / s.square().sum(), atol=1e-8, rtol=1e-6
        )


@PROPERTY
@given(GROUP_LISTS, st.integers(0, 99))
def test_a_client_moves_its_own_group_and_no_other(groups: list[int], seed: int) -> None:
    a, b, server_a, server_b = paths(seed)
    of, w = torch.tensor(groups), torch.ones(CLIENTS)
    before = group_means(a, b, of, w, server_a, server_b)
    b[0] += 1.0
    after = group_means(a, b, of, w, server_a, server_b)
    for group in range(GROUPS):
        same = torch.equal(before.b[group] @ before.a[group], after.b[group] @ after.a[group])
        assert same == (group != groups[0])


def test_equal_members_keep_their_product_and_one_that_starts_at_zero_stays_ready_to_move() -> None:
    a, b, server_a, server_b = paths(0)
    of, w = torch.zeros(CLIENTS, dtype=torch.int64), torch.ones(CLIENTS)
    same_a, same_b = a[:1].expand(CLIENTS, -1, -1), b[:1].expand(CLIENTS, -1, -1)
    found = group_means(same_a, same_b, of, w, server_a, server_b)
    torch.testing.assert_close(found.b[0] @ found.a[0], b[0] @ a[0])
    still = group_means(same_a, torch.zeros_like(same_b), of, w, server_a, server_b)
    torch.testing.assert_close(still.a[0], server_a[0])
    assert not still.b[0].any()


@PROPERTY
@given(WEIGHTS.filter(lambda weights: sum(weights) > 1e-3))
def test_the_mean_of_all_is_weighted_and_keeps_the_dtype(weights: list[float]) -> None:
    values, w = torch.randn(CLIENTS, 3, 2), torch.tensor(weights, dtype=torch.float64)
    expected = (values.double() * w[:, None, None]).sum(0) / w.sum()
    found = mean_of_all(values, w)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected.float())


def test_a_client_without_weight_does_not_count_even_where_it_diverged() -> None:
    values = torch.tensor([[1.0], [float("nan")]])
    assert mean_of_all(values, torch.tensor([2.0, 0.0])).item() == 1.0
    with pytest.raises(MessageError, match="not finite"):
        mean_of_all(values, torch.tensor([1.0, 1.0]))


def test_what_does_not_fit_is_refused() -> None:
    a, b, server_a, server_b = paths(0)
    of, w = torch.zeros(CLIENTS, dtype=torch.int64), torch.ones(CLIENTS)
    for wrong in (torch.zeros(CLIENTS), torch.tensor([-1.0] + [1.0] * 5), torch.tensor([float("inf")] + [1.0] * 5)):
        with pytest.raises(MessageError, match="weights"):
            mean_of_all(a, wrong)
    with pytest.raises(MessageError, match="one group and one weight"):
        group_means(a, b, of[:2], w, server_a, server_b)
    with pytest.raises(MessageError, match="one group and one weight"):
        group_means(a[..., :3], b, of, w, server_a, server_b)
    with pytest.raises(MessageError, match="there are 3 groups"):
        group_means(a, b, of + 3, w, server_a, server_b)
    with pytest.raises(MessageError, match="not finite"):
        group_means(a * float("nan"), b, of, w, server_a, server_b)
