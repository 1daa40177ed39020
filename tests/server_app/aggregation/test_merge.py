from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import ConfigError, MessageError, RunError
from server_app.aggregation import adapter as side
from server_app.aggregation.merge import merge, merge_factors, merge_products
from tests.server_app.aggregation.toy import WIDTHS, adapter, equal, product, random_matrix, refactored

EYE = torch.eye(3, dtype=torch.float64)


def truncated(matrix, rank):
    u, s, vt = torch.linalg.svd(matrix, full_matrices=False)
    return (u[:, :rank] * s[:rank]) @ vt[:rank], float(s[rank:].square().sum() / s.square().sum())


def test_factor_merge_by_hand():
    adapters = [{"x": torch.tensor([[1.0, 2.0]])}, {"x": torch.tensor([[5.0, -2.0]])}]
    weights = torch.tensor([[0.75, 0.25], [0.5, 0.5]], dtype=torch.float64)
    merged = merge_factors(adapters, weights)
    assert [tensors["x"].tolist() for tensors in merged] == [[[2.0, 1.0]], [[3.0, 0.0]]]


@pytest.mark.parametrize("how", ["factors", "product"])
def test_the_mix_is_simultaneous(how):
    adapters = [{"x": torch.tensor([0.0])}, {"x": torch.tensor([8.0])}]
    merged = merge(how, adapters, torch.full((2, 2), 0.5)).adapters
    # In place and in sequence, the second would average the first's new value: (4 + 8) / 2 = 6.
    assert [tensors["x"].item() for tensors in merged] == [4.0, 4.0]
    assert [tensors["x"].item() for tensors in adapters] == [0.0, 8.0]


@pytest.mark.parametrize("how", ["factors", "product"])
def test_merges_leave_what_was_sent_alone(how):
    adapters, before = [adapter(0), adapter(1), adapter(2)], [adapter(0), adapter(1), adapter(2)]
    merged = merge(how, adapters, EYE).adapters
    for tensors in merged:
        for tensor in tensors.values():
            tensor.zero_()
    assert all(equal(sent, kept) for sent, kept in zip(adapters, before, strict=True))


@pytest.mark.parametrize("how", ["factors", "product"])
def test_the_identity_and_a_client_alone_keep_every_bit(how):
    adapters = [adapter(0), adapter(1), adapter(2)]
    assert all(equal(*both) for both in zip(merge(how, adapters, EYE).adapters, adapters, strict=True))
    assert equal(merge(how, [adapter(0)], torch.ones(1, 1)).adapters[0], adapter(0))


@given(n=st.integers(1, 5), seed=st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_identical_clients_stay_as_they_are(n, seed):
    sent, weights = adapter(seed), random_matrix(n, seed)
    assert all(equal(tensors, sent) for tensors in merge_factors([sent] * n, weights))
    for tensors in merge_products([sent] * n, weights).adapters:
        assert torch.equal(tensors["head.bias"], sent["head.bias"])
        for layer in WIDTHS:
            assert torch.allclose(product(tensors, layer), product(sent, layer), atol=1e-5)


@given(seed=st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_merges_follow_a_permutation(seed):
    adapters, weights = [adapter(seed + place) for place in range(4)], random_matrix(4, seed)
    order = torch.randperm(4, generator=torch.Generator().manual_seed(seed))
    turned = [adapters[i] for i in order]
    factors, again = merge_factors(adapters, weights), merge_factors(turned, weights[order][:, order])
    products = merge_products(adapters, weights).adapters
    products_again = merge_products(turned, weights[order][:, order]).adapters
    for place, i in enumerate(order):
        for name in adapters[0]:
            assert torch.allclose(again[place][name], factors[i][name], atol=1e-6)
        for layer in WIDTHS:
            assert torch.allclose(product(products_again[place], layer), product(products[i], layer), atol=1e-4)


@pytest.mark.parametrize("scales", [None, (2.0, 0.5, 1.0)])
def test_product_merge_is_the_eckart_young_truncation_of_the_dense_mix(scales):
    adapters, weights = [adapter(0), adapter(1), adapter(2)], random_matrix(3, 7)
    merged = merge_products(adapters, weights, scales)
    s = scales or (1.0, 1.0, 1.0)
    for layer in WIDTHS:
        for i in range(3):
            dense = sum(weights[i, j] * s[j] * product(adapters[j], layer) for j in range(3))
            best, lost = truncated(dense, rank=2)
            assert torch.allclose(s[i] * product(merged.adapters[i], layer), best, atol=1e-5)
            assert merged.discarded[i][layer] == pytest.approx(lost, abs=1e-9)
            assert 0.0 < lost < 1.0


def test_product_merge_is_exact_where_the_rank_suffices():
    adapters = [adapter(0, rank=1), adapter(1, rank=1)]
    padded = [
        {
            name: torch.nn.functional.pad(
                tensor, (0, 0, 0, 1) if "lora_A" in name else (0, 1) if "lora_B" in name else ()
            )
            for name, tensor in tensors.items()
        }
        for tensors in adapters
    ]
    weights = random_matrix(2, 0)
    merged = merge_products(padded, weights)
    for layer in WIDTHS:
        dense = sum(weights[0, j] * product(adapters[j], layer) for j in range(2))
        assert torch.allclose(product(merged.adapters[0], layer), dense, atol=1e-5)
        assert merged.discarded[0][layer] == pytest.approx(0.0, abs=1e-12)


def test_product_merge_does_not_depend_on_how_a_client_factors_and_the_factor_merge_does():
    adapters, weights = [adapter(0), adapter(1), adapter(2)], random_matrix(3, 7)
    changed = [adapters[0], refactored(adapters[1]), adapters[2]]
    pairs = list(
        zip(merge_products(adapters, weights).adapters, merge_products(changed, weights).adapters, strict=True)
    )
    for one, other in pairs:
        assert all(torch.allclose(product(one, layer), product(other, layer), atol=1e-5) for layer in WIDTHS)
    one, other = merge_factors(adapters, weights)[0], merge_factors(changed, weights)[0]
    assert not torch.allclose(product(one, "layers.0.q"), product(other, "layers.0.q"), atol=0.1)


def test_slices_of_different_ranks_are_ordered_whatever_the_factoring():
    adapters, weights = [adapter(0, rank=2), adapter(1, rank=3)], random_matrix(2, 3)
    changed = [refactored(adapters[0]), refactored(adapters[1])]
    pairs = zip(merge_products(adapters, weights).adapters, merge_products(changed, weights).adapters, strict=True)
    for one, other in pairs:
        assert all(torch.allclose(product(one, layer), product(other, layer), atol=1e-5) for layer in WIDTHS)


def test_product_merge_keeps_each_clients_own_rank():
    adapters = [adapter(0, rank=1), adapter(1, rank=2), adapter(2, rank=3)]
    merged = merge_products(adapters, random_matrix(3, 1)).adapters
    for sent, mixed in zip(adapters, merged, strict=True):
        assert {name: tensor.shape for name, tensor in mixed.items()} == {
            name: tensor.shape for name, tensor in sent.items()
        }


def test_a_higher_slice_is_weighted_among_the_clients_that_have_it():
    def diagonal(*values):
        rank = len(values)
        return {
            "q.lora_A.weight": torch.eye(4)[:rank],
            "q.lora_B.weight": torch.eye(4)[:, :rank] * torch.tensor(values),
        }

    merged = merge_products([diagonal(8.0), diagonal(4.0, 3.0)], torch.full((2, 2), 0.5)).adapters
    wide = merged[1]["q.lora_B.weight"] @ merged[1]["q.lora_A.weight"]
    # Slice 1: (8 + 4) / 2; slice 2 is the second client's alone, not (0 + 3) / 2.
    assert torch.allclose(wide.diagonal(), torch.tensor([6.0, 3.0, 0.0, 0.0]), atol=1e-6)
    narrow = merged[0]["q.lora_B.weight"] @ merged[0]["q.lora_A.weight"]
    assert torch.allclose(narrow.diagonal(), torch.tensor([6.0, 0.0, 0.0, 0.0]), atol=1e-6)


def test_merges_of_adapters_that_have_not_moved_stay_trainable():
    fresh = [adapter(0), adapter(1)]
    for tensors in fresh:
        for layer in WIDTHS:
            tensors[f"{layer}.lora_B.weight"].zero_()
    for tensors, sent in zip(merge_products(fresh, random_matrix(2, 0)).adapters, fresh, strict=True):
        assert all(torch.equal(tensors[name], sent[name]) for name in sent if "lora" in name)


def test_a_float64_block_at_a_time_gives_the_same(monkeypatch):
    adapters, weights = [adapter(0), adapter(1)], random_matrix(2, 0)
    whole = merge_factors(adapters, weights)
    monkeypatch.setattr(side, "BLOCK", 4)
    blocks = merge_factors(adapters, weights)
    for one, other in zip(whole, blocks, strict=True):
        assert all(torch.allclose(one[name], other[name], atol=1e-7) for name in one)


@pytest.mark.parametrize("how", ["factors", "product"])
def test_merges_keep_the_dtype(how):
    adapters = [{name: tensor.bfloat16() for name, tensor in adapter(seed).items()} for seed in range(2)]
    merged = merge(how, adapters, random_matrix(2, 0)).adapters
    assert {tensor.dtype for tensors in merged for tensor in tensors.values()} == {torch.bfloat16}


@pytest.mark.parametrize("how", ["factors", "product"])
def test_merges_refuse_other_names(how):
    other = adapter(1)
    del other["head.bias"]
    with pytest.raises(MessageError, match=r"client 'b' lacks tensor 'head\.bias'"):
        merge(how, [adapter(0), other], torch.full((2, 2), 0.5), clients=("a", "b"))


@pytest.mark.parametrize("how", ["factors", "product"])
def test_merges_refuse_other_shapes(how):
    other = adapter(1) | {"head.bias": torch.zeros(4)}
    with pytest.raises(MessageError, match=r"'head\.bias' is \(4,\) at client 'b'"):
        merge(how, [adapter(0), other], torch.full((2, 2), 0.5), clients=("a", "b"))


def test_only_the_product_merge_takes_different_ranks_and_no_merge_different_widths():
    with pytest.raises(MessageError, match="lora_A.*client '1'"):
        merge_factors([adapter(0, rank=2), adapter(1, rank=3)], torch.full((2, 2), 0.5))
    wide = adapter(1) | {"layers.0.q.lora_A.weight": torch.zeros(2, 9)}
    with pytest.raises(MessageError, match=r"client '1' has \(d_in, d_out\) \(9, 5\)"):
        merge_products([adapter(0), wide], torch.full((2, 2), 0.5))


def test_merges_refuse_bad_settings():
    with pytest.raises(ConfigError, match="'mean'"):
        merge("mean", [adapter(0)], torch.ones(1, 1))
    with pytest.raises(MessageError, match="scales"):
        merge_products([adapter(0)], torch.ones(1, 1), scales=[0.0])
    with pytest.raises(RunError, match="mixing matrix"):
        merge_factors([adapter(0), adapter(1)], torch.ones(2, 2))
