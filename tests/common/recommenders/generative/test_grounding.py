from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from common.errors import DataError
from common.recommenders.generative.grounding import distances, exact_share, injected

COUNTS = st.lists(st.integers(0, 50), min_size=2, max_size=8)


@given(st.integers(1, 4), st.integers(1, 9), st.integers(1, 10), st.integers(0, 5))
def test_distances_are_those_of_their_definition_in_any_chunks(users: int, n: int, chunk: int, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    left, right = torch.randn(users, 5, generator=random), torch.randn(n, 5, generator=random)
    expected = (left.unsqueeze(1) - right.unsqueeze(0)).pow(2).sum(-1).sqrt()
    torch.testing.assert_close(distances(left, right, chunk), expected)


def test_a_title_lies_at_distance_zero_from_itself_in_half_precision_too() -> None:
    matrix = (torch.randn(50, 64, generator=torch.Generator().manual_seed(0)) + 100).bfloat16()
    found = distances(matrix[[7, 3]], matrix)
    assert found.dtype == torch.float32
    assert found[0, 7] == found[1, 3] == 0


@given(COUNTS, st.floats(0, 5), st.integers(0, 5))
def test_injection_is_the_paper_s_formula(counts: list[int], gamma: float, seed: int) -> None:
    table = torch.rand(3, len(counts), generator=torch.Generator().manual_seed(seed))
    found = injected(table, torch.tensor(counts), gamma)
    low, high = min(counts), max(counts)
    for row in range(3):
        least, greatest = table[row].min().item(), table[row].max().item()
        for item, count in enumerate(counts):
            popularity = (count - low) / (high - low) if high > low else 0.0
            near = (table[row, item].item() - least) / (greatest - least)
            assert found[row, item].item() == pytest.approx(near * (1 + popularity) ** -gamma, abs=1e-6)


def test_gamma_zero_keeps_the_order_and_a_large_one_brings_the_popular_forward() -> None:
    table, counts = torch.tensor([[0.1, 0.5, 0.6]]), torch.tensor([0, 0, 9])
    assert torch.equal(injected(table, counts, 0.0).argsort(), table.argsort())
    assert injected(table, counts, 2.0).argsort().tolist() == [[0, 2, 1]]
    assert torch.equal(injected(torch.ones(1, 3), counts, 1.0), torch.zeros(1, 3, dtype=torch.float64))


def test_shapes_that_do_not_fit_and_infinities_are_refused() -> None:
    with pytest.raises(DataError, match="do not fit"):
        injected(torch.ones(1, 3), torch.ones(2), 1.0)
    for table, gamma in ((torch.tensor([[1.0, torch.inf]]), 1.0), (torch.ones(1, 2), float("nan"))):
        with pytest.raises(DataError, match="not finite"):
            injected(table, torch.ones(2), gamma)


def test_the_exact_share_counts_texts_that_are_titles() -> None:
    assert exact_share(["Halo", "halo", "Halo", "Hal"], ["Halo", "Halo 3"]) == 0.5
    with pytest.raises(DataError, match="no generated text"):
        exact_share([], ["Halo"])
