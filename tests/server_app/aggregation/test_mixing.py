from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import RunError
from server_app.aggregation.mixing import check_mixing_matrix, mixing_matrix


def test_mixing_matrix_by_hand():
    similarities = torch.tensor([[1.0, 0.5], [0.5, 1.0]])
    # d = [[1, .8 * .5], [1 * .5, 1]]
    expected = torch.tensor([[1 / 1.4, 0.4 / 1.4], [0.5 / 1.5, 1 / 1.5]], dtype=torch.float64)
    assert torch.allclose(mixing_matrix(similarities, torch.tensor([0.8, 1.0])), expected, atol=1e-7)


def test_five_clients_with_orthogonal_updates_mix_nearly_evenly():
    matrix = mixing_matrix(torch.full((5, 5), 0.5), torch.ones(5))
    assert matrix[0].tolist() == pytest.approx([1 / 3] + [1 / 6] * 4)


def test_uniform_fedavg_is_the_case_of_similarity_and_heat_one():
    assert torch.allclose(mixing_matrix(torch.ones(5, 5), torch.ones(5)), torch.full((5, 5), 0.2, dtype=torch.float64))


def test_the_heat_is_the_receivers_and_spares_its_own_share():
    matrix = mixing_matrix(torch.ones(2, 2), torch.tensor([0.5, 1.0]))
    assert matrix[0].tolist() == pytest.approx([2 / 3, 1 / 3])
    assert matrix[1].tolist() == pytest.approx([1 / 2, 1 / 2])


@given(n=st.integers(1, 6), seed=st.integers(0, 1000), zero=st.booleans())
@settings(max_examples=50, deadline=None)
def test_rows_sum_to_one_and_follow_a_permutation(n, seed, zero):
    generator = torch.Generator().manual_seed(seed)
    similarities = torch.rand(n, n, generator=generator) * (0.0 if zero else 1.0)
    heats = torch.rand(n, generator=generator).clamp(min=0.01)
    matrix = mixing_matrix(similarities, heats)
    check_mixing_matrix(matrix, n)
    assert matrix.dtype == torch.float64
    order = torch.randperm(n, generator=generator)
    assert torch.allclose(mixing_matrix(similarities[order][:, order], heats[order]), matrix[order][:, order])


def test_mixing_leaves_its_inputs_alone():
    similarities = torch.zeros(2, 2, dtype=torch.float64)
    mixing_matrix(similarities, torch.ones(2, dtype=torch.float64))
    assert torch.equal(similarities, torch.zeros(2, 2, dtype=torch.float64))


def test_check_accepts_what_float32_makes_of_a_row():
    check_mixing_matrix(torch.full((5, 5), 1 / 5), 5)


@pytest.mark.parametrize(
    "matrix",
    [[[0.5, 0.6], [0.5, 0.5]], [[1.5, -0.5], [0.5, 0.5]], [[float("nan"), 1.0], [0.5, 0.5]], [[1.0]]],
)
def test_check_refuses_what_is_no_mixing_matrix(matrix):
    with pytest.raises(RunError, match="mixing matrix"):
        check_mixing_matrix(torch.tensor(matrix), 2)
