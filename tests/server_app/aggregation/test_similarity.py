from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import ConfigError, MessageError
from server_app.aggregation.similarity import product_cosine, raw_cosine, sharpen, shift, update_cosine
from tests.server_app.aggregation.toy import WIDTHS, adapter, product, refactored


def zeros_like(tensors):
    return {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}


def dense_cosine(vectors):
    return torch.nn.functional.cosine_similarity(vectors[:, None], vectors[None], dim=-1)


def test_raw_cosine_by_hand():
    adapters = [
        {"x": torch.tensor([3.0, 0.0]), "y": torch.tensor([4.0])},
        {"x": torch.tensor([0.0, 1.0]), "y": torch.ones(1)},
    ]
    # <v0, v1> = 4, |v0| = 5, |v1| = sqrt(2)
    assert raw_cosine(adapters)[0, 1].item() == pytest.approx(4 / (5 * 2**0.5), abs=1e-15)


def test_update_cosine_by_hand():
    origin = {"x": torch.tensor([1.0, 1.0])}
    adapters = [{"x": torch.tensor([2.0, 1.0])}, {"x": torch.tensor([1.0, 3.0])}, {"x": torch.tensor([-4.0, 1.0])}]
    expected = torch.tensor([[1.0, 0.0, -1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 1.0]], dtype=torch.float64)
    assert torch.equal(update_cosine(adapters, [origin] * 3), expected)


def test_product_cosine_by_hand():
    def rank_one(a, b):
        return {"q.lora_A.weight": torch.tensor([a]), "q.lora_B.weight": torch.tensor([b]).T}

    # [[1, 0], [0, 0]] and [[1, 1], [0, 0]]: inner product 1, norms 1 and sqrt(2)
    cosines = product_cosine([rank_one([1.0, 0.0], [1.0, 0.0]), rank_one([1.0, 1.0], [1.0, 0.0])])
    assert cosines[0, 1].item() == pytest.approx(2**-0.5, abs=1e-15)


@pytest.mark.parametrize("with_origin", [False, True])
@pytest.mark.parametrize("ranks", [(2, 2, 2), (1, 2, 3)])
def test_product_cosine_is_that_of_the_dense_products(ranks, with_origin):
    adapters = [adapter(seed, rank) for seed, rank in enumerate(ranks)]
    origin = adapter(50) if with_origin else zeros_like(adapter(50))

    def dense(tensors):
        products = [(product(tensors, layer) - product(origin, layer)).reshape(-1) for layer in WIDTHS]
        return torch.cat([*products, tensors["head.bias"].double() - origin["head.bias"].double()])

    expected = dense_cosine(torch.stack([dense(tensors) for tensors in adapters]))
    assert torch.allclose(product_cosine(adapters, origin if with_origin else None), expected, atol=1e-12)


@pytest.mark.parametrize("with_origin", [False, True])
def test_product_cosine_does_not_depend_on_how_a_client_factors(with_origin):
    adapters, origin = [adapter(0), adapter(1), adapter(2)], adapter(50) if with_origin else None
    changed = [adapters[0], refactored(adapters[1]), adapters[2]]
    assert torch.allclose(product_cosine(changed, origin), product_cosine(adapters, origin), atol=1e-12)
    assert not torch.allclose(raw_cosine(changed), raw_cosine(adapters), atol=1e-3)


def test_a_shared_start_hides_differences_from_the_raw_cosine_only():
    origin = adapter(0)
    adapters = [{name: origin[name] + 0.01 * tensor for name, tensor in adapter(seed).items()} for seed in range(1, 4)]
    others = ~torch.eye(3, dtype=torch.bool)
    assert raw_cosine(adapters)[others].min() > 0.999
    assert update_cosine(adapters, [origin] * 3)[others].max() < 0.7
    assert product_cosine(adapters, origin)[others].max() < 0.9


@pytest.mark.parametrize(
    "cosine",
    [
        raw_cosine,
        product_cosine,
        lambda a: update_cosine(a, [adapter(9)] * len(a)),
        lambda a: product_cosine(a, adapter(9)),
    ],
)
def test_identical_clients_have_cosine_one(cosine):
    assert torch.allclose(cosine([adapter(0)] * 3), torch.ones(3, 3, dtype=torch.float64), atol=1e-12)


@pytest.mark.parametrize("cosine", [lambda a, o: update_cosine(a, [o] * len(a)), product_cosine])
def test_a_zero_update_is_like_nobody_but_itself(cosine):
    origin = adapter(0)
    cosines = cosine([origin, adapter(1), origin], origin)
    assert torch.equal(cosines[0], torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64))
    assert torch.isfinite(cosines).all()


def test_all_zero_adapters_give_the_identity():
    adapters = [zeros_like(adapter(0))] * 2
    assert torch.equal(raw_cosine(adapters), torch.eye(2, dtype=torch.float64))
    assert torch.equal(product_cosine(adapters), torch.eye(2, dtype=torch.float64))


@given(n=st.integers(1, 4), seed=st.integers(0, 100))
@settings(max_examples=25, deadline=None)
def test_cosines_are_symmetric_and_follow_a_permutation(n, seed):
    adapters = [adapter(seed + place) for place in range(n)]
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    for cosine in (raw_cosine, product_cosine):
        cosines = cosine(adapters)
        assert torch.allclose(cosines, cosines.T, atol=1e-12) and cosines.abs().max() <= 1
        assert torch.allclose(cosine([adapters[i] for i in order]), cosines[order][:, order], atol=1e-12)


def test_cosines_accumulate_in_float64():
    # In float32 the sum of the squares would lose the small part: 1e8 + 1 == 1e8.
    adapters = [{"x": torch.tensor([1e4, 1.0])}, {"x": torch.tensor([1e4, -1.0])}]
    assert raw_cosine(adapters)[0, 1].item() == pytest.approx((1e8 - 1) / (1e8 + 1), abs=1e-14)


def test_shift_and_sharpen_by_hand():
    assert shift(torch.tensor([-1.0, 0.0, 1.0])).tolist() == [0.0, 0.5, 1.0]
    assert sharpen(torch.tensor([0.0, 0.5, 1.0]), 0.5).tolist() == [0.0, 0.25, 1.0]
    assert sharpen(torch.tensor([0.25]), 2.0).tolist() == [0.5]


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_sharpen_refuses_a_temperature_out_of_range(temperature):
    with pytest.raises(ConfigError, match="temperature"):
        sharpen(torch.ones(2, 2), temperature)


def test_vector_cosines_refuse_different_ranks():
    with pytest.raises(MessageError, match=r"layers\.0\.q\.lora_A\.weight.*client '1'"):
        raw_cosine([adapter(0, rank=2), adapter(1, rank=3)])
    with pytest.raises(MessageError, match="lora_A"):
        update_cosine([adapter(0), adapter(1)], [adapter(2, rank=3)] * 2)
