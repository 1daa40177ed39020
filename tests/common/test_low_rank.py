from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import MessageError
from common.low_rank import Pair, ProductMixer, pairs, plain_names


def random(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_pairs_by_name():
    adapter = {
        "m.1.q.lora_A.weight": random(0, 2, 6),
        "m.1.q.lora_B.weight": random(0, 5, 2),
        "m.0.q.lora_B.default.weight": random(0, 5, 2),
        "m.0.q.lora_A.default.weight": random(0, 2, 6),
        "m.e.lora_embedding_A": random(0, 2, 9),
        "m.e.lora_embedding_B": random(0, 4, 2),
        "lora_A.weight": random(0, 1, 3),
        "lora_B.weight": random(0, 3, 1),
        "m.1.q.lora_magnitude_vector": random(0, 5),
        "classifier.weight": random(0, 2, 2),
        "flora_A.weight": random(0, 2, 2),
    }
    assert pairs(adapter) == [
        Pair("", "lora_A.weight", "lora_B.weight"),
        Pair("m.0.q", "m.0.q.lora_A.default.weight", "m.0.q.lora_B.default.weight"),
        Pair("m.1.q", "m.1.q.lora_A.weight", "m.1.q.lora_B.weight"),
        Pair("m.e", "m.e.lora_embedding_A", "m.e.lora_embedding_B"),
    ]
    assert plain_names(adapter) == ["classifier.weight", "flora_A.weight", "m.1.q.lora_magnitude_vector"]


def test_two_adapters_on_one_layer_are_two_pairs():
    names = [f"q.lora_{factor}.{adapter}.weight" for adapter in ("default", "group") for factor in "AB"]
    found = pairs({name: random(0, 2, 2) for name in names})
    assert [(pair.layer, pair.a) for pair in found] == [("q", names[0]), ("q:group", names[2])]


@pytest.mark.parametrize(
    ("adapter", "message"),
    [
        ({"q.lora_A.weight": random(0, 2, 6)}, r"'q\.lora_A\.weight' has no partner"),
        ({"q.lora_A.weight": random(0, 2, 6), "q.lora_B.weight": random(0, 5, 3)}, "'q' do not multiply"),
        ({"q.lora_A.weight": random(0, 2, 6, 1), "q.lora_B.weight": random(0, 5, 2)}, "'q' do not multiply"),
    ],
)
def test_broken_pairs_are_refused(adapter, message):
    with pytest.raises(MessageError, match=message):
        pairs(adapter)


def test_a_mixture_by_hand():
    # 0.5 * diag(4, 0) + 0.5 * diag(0, 2) = diag(2, 1); of rank 1: diag(2, 0), and 1 / 5 of the energy is lost.
    mixer = ProductMixer(
        [
            (torch.tensor([[1.0, 0.0]]), torch.tensor([[4.0], [0.0]])),
            (torch.tensor([[0.0, 1.0]]), torch.tensor([[0.0], [2.0]])),
        ]
    )
    mixed = mixer.mix(torch.tensor([0.5, 0.5]), like=torch.tensor([[3.0, 0.1]]))
    assert torch.allclose(mixed.b @ mixed.a, torch.tensor([[2.0, 0.0], [0.0, 0.0]], dtype=torch.float64), atol=1e-12)
    assert mixed.discarded == pytest.approx(0.2)


@given(seed=st.integers(0, 1000), rank=st.integers(1, 6), d_in=st.integers(1, 8), d_out=st.integers(1, 8))
@settings(max_examples=60, deadline=None)
def test_a_mixture_is_the_best_of_its_rank_whatever_the_shapes(seed, rank, d_in, d_out):
    factors = [(random(seed + j, rank, d_in), random(seed + j + 50, d_out, rank)) for j in range(3)]
    weights = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    mixed = ProductMixer(factors).mix(weights, factors[0][0])
    dense = sum(w * b.double() @ a.double() for w, (a, b) in zip(weights, factors, strict=True))
    u, s, vt = torch.linalg.svd(dense, full_matrices=False)
    assert mixed.a.shape == (rank, d_in) and mixed.b.shape == (d_out, rank)
    assert torch.allclose(mixed.b @ mixed.a, (u[:, :rank] * s[:rank]) @ vt[:rank], atol=1e-8)


def test_a_mixture_keeps_the_receivers_length_and_lies_near_its_rows():
    own = torch.linalg.qr(random(0, 8, 3)).Q.T * 0.5
    factors = [(own, random(1, 6, 3)), (own + 0.01 * random(2, 3, 8), random(3, 6, 3))]
    mixed = ProductMixer(factors).mix(torch.tensor([0.5, 0.5]), own)
    assert float(mixed.a.norm()) == pytest.approx(float(own.norm()))
    assert (mixed.a - own).norm() < 0.1 * own.norm()


def test_directions_left_unused_keep_rows_of_the_receiver():
    own = random(0, 3, 8)
    factors = [(own, torch.zeros(6, 3)), (random(1, 1, 8).repeat(3, 1), random(2, 6, 3))]
    mixed = ProductMixer(factors).mix(torch.tensor([0.5, 0.5]), own)
    assert torch.allclose(mixed.b @ mixed.a, 0.5 * factors[1][1].double() @ factors[1][0].double(), atol=1e-6)
    assert torch.linalg.matrix_rank(mixed.a) == 3


def test_a_mixture_of_nothing_keeps_the_receivers_rows():
    own = random(0, 2, 8)
    mixed = ProductMixer([(own, torch.zeros(6, 2)), (random(1, 2, 8), torch.zeros(6, 2))]).mix(
        torch.tensor([0.5, 0.5]), own
    )
    assert torch.equal(mixed.a, own.double()) and not mixed.b.any() and mixed.discarded == 0.0
