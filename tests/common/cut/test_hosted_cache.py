from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import DynamicCache, StaticCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from common.cut import Cut, client_side, server_side, set_trunk
from common.cut.hosted_cache import Change, HostedLayer, adopt
from common.errors import ModelError
from tests.common.cut.tiny import CAUSAL, batch, load_whole

WAYS = {
    "greedy": {"num_beams": 1},
    "beams": {"num_beams": 4, "num_return_sequences": 3},
    "constrained": {
        "num_beams": 4,
        "prefix_allowed_tokens_fn": lambda row, ids: [3 + (7 * len(ids) + j) % 50 for j in range(9)],
    },
    "processed": {"num_beams": 2, "no_repeat_ngram_size": 2, "repetition_penalty": 1.5},
}
LONG = {"max_new_tokens": 6, "do_sample": False}
BOTH = [(family, attention) for family in CAUSAL for attention in ("sdpa", "eager")]


def identity(hidden: Tensor, mask: Tensor | None, positions: Tensor | None) -> Tensor:
    return hidden


@pytest.mark.parametrize(
    ("family", "attention"), [both for both in BOTH if both != ("gemma2", "sdpa")], ids=lambda value: str(value)
)
def test_generated_tokens_are_the_whole_models(tiny, family: str, attention: str) -> None:
    whole = load_whole(tiny(family, True), True, attention)
    cut = Cut(1, 1) if attention == "sdpa" else Cut(0, 2)
    server = server_side(tiny(family, True), cut, attn_implementation=attention)
    client = client_side(tiny(family, True), cut, server, True, attn_implementation=attention)
    for way, padding in ((way, "none" if way == "greedy" else "left") for way in WAYS):
        expected = whole.generate(**batch(padding), **LONG, **WAYS[way], use_cache=True)
        assert torch.equal(client.generate(**batch(padding), **LONG, **WAYS[way]), expected), way


def test_each_step_sends_one_column(tiny) -> None:
    server = server_side(tiny("llama", True), Cut(1, 1))
    widths: list[int] = []
    server.register_forward_pre_hook(lambda module, args: widths.append(args[0].shape[1]))
    client = client_side(tiny("llama", True), Cut(1, 1), server, True)
    client.generate(**batch("none"), max_new_tokens=4, min_new_tokens=4, num_beams=2, do_sample=False)
    assert widths == [11, 1, 1, 1]


@pytest.mark.parametrize("family", ["llama", "gemma3_text"])
def test_a_trunk_without_a_cache_computes_every_column_again(tiny, family: str) -> None:
    server = server_side(tiny(family, True), Cut(1, 1))
    client = client_side(tiny(family, True), Cut(1, 1), server, True)
    expected = client.generate(**batch("left"), **LONG, num_beams=3)
    widths: list[int] = []

    def plain(hidden: Tensor, mask: Tensor | None, positions: Tensor | None) -> Tensor:
        widths.append(hidden.shape[1])
        return server(hidden, mask, positions)

    set_trunk(client, plain)
    assert torch.equal(client.generate(**batch("left"), **LONG, num_beams=3), expected)
    assert widths[:3] == [11, 12, 13]


@pytest.mark.parametrize("family", ["llama", "mistral"])
def test_columns_that_are_taken_back_are_forgotten(tiny, family: str) -> None:
    whole = load_whole(tiny(family, True), True)
    client = client_side(tiny(family, True), Cut(1, 1), server_side(tiny(family, True), Cut(1, 1)), True)
    inputs = {"input_ids": torch.tensor([[5, 6, 7, 8, 5, 6, 7, 8, 5, 6]])}
    for way in ({"prompt_lookup_num_tokens": 3}, {"prefill_chunk_size": 4}):
        expected = whole.generate(**inputs, max_new_tokens=10, do_sample=False, use_cache=True)
        assert torch.equal(client.generate(**inputs, max_new_tokens=10, do_sample=False, **way), expected), way


def test_a_copied_cache_goes_its_own_way(tiny) -> None:
    client = client_side(tiny("llama", True), Cut(1, 1), server_side(tiny("llama", True), Cut(1, 1)), True)
    prompt, ends = batch("none")["input_ids"], torch.tensor([[[4]], [[9]]]).expand(2, 3, 1)
    with torch.no_grad():
        cache = client(prompt, use_cache=True).past_key_values
        for end in ends:
            found = client(end, past_key_values=copy.deepcopy(cache), use_cache=True).logits[:, -1]
            expected = client(torch.cat([prompt, end], 1)).logits[:, -1]
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert cache.get_seq_length() == cache.get_seq_length(1) == 11


def test_rows_are_repeated_and_chosen(tiny) -> None:
    client = client_side(tiny("llama", True), Cut(1, 1), server_side(tiny("llama", True), Cut(1, 1)), True)
    prompt, end = batch("none")["input_ids"], torch.tensor([[4], [5], [6]])
    with torch.no_grad():
        cache = client(prompt, use_cache=True).past_key_values
        cache.batch_repeat_interleave(2)
        cache.batch_select_indices(torch.tensor([True, False, False, True, True, False]))
        cache.crop(-2)
        found = client(end, past_key_values=cache, use_cache=True).logits[:, -1]
        expected = client(torch.cat([prompt[[0, 1, 2], :-2], end], 1)).logits[:, -1]
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        cache.reset()
        assert torch.equal(client(prompt, past_key_values=cache, use_cache=True).logits, client(prompt).logits)


def test_another_trunk_gets_everything(tiny) -> None:
    server = server_side(tiny("llama", True), Cut(1, 1))
    client = client_side(tiny("llama", True), Cut(1, 1), identity, True)
    prompt, end = batch("none")["input_ids"], torch.tensor([[4], [5], [6]])
    with torch.no_grad():
        cache = client(prompt, use_cache=True).past_key_values
        set_trunk(client, server)
        found = client(end, past_key_values=cache, use_cache=True)
        # what lies above the hosted layers has kept the keys that the first trunk led to
        assert found.logits.isfinite().all()
    assert server.sequence() is not server.sequence()


def test_caches_that_cannot_be_used_are_refused(tiny) -> None:
    client = client_side(tiny("llama", True), Cut(1, 1), identity, True)
    ids = batch("none")["input_ids"]
    with pytest.raises(ModelError, match="'StaticLayer'"):
        client(ids, past_key_values=StaticCache(config=client.config, max_cache_len=20), use_cache=True)
    others = DynamicCache(config=client.config)
    others.update(*torch.zeros(2, 3, 2, 11, 4), 1)
    with pytest.raises(ModelError, match="holds keys"):
        client(ids, past_key_values=others, use_cache=True)
    with pytest.raises(ModelError, match="no key-value cache"):
        server_side(tiny("bert"), Cut(1, 1)).new_cache()
    layer = adopt(DynamicLayer())
    with pytest.raises(ModelError, match="place in the cache"):
        layer.update(torch.zeros(1), torch.zeros(1))
    with pytest.raises(ModelError, match="crop"):
        layer.crop(-1)
    layer.extend(identity, torch.zeros(3, 4, 2), None, None)
    with pytest.raises(ModelError, match="2 rows follow a cache of 3"):
        layer.extend(identity, torch.zeros(2, 1, 2), None, None)


def test_a_cache_that_makes_its_layers_itself_will_do(tiny) -> None:
    client = client_side(tiny("llama", True), Cut(1, 1), server_side(tiny("llama", True), Cut(1, 1)), True)
    ids = batch("none")["input_ids"]
    cache = DynamicCache()
    assert torch.equal(client(ids, past_key_values=cache, use_cache=True).logits, client(ids).logits)
    assert isinstance(cache.layers[1], HostedLayer)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([None, 2, 3, 5]), st.lists(st.integers(1, 4), min_size=1, max_size=6), st.integers(1, 4))
def test_sizes_are_those_of_a_layer_with_keys(window: int | None, widths: list[int], query: int) -> None:
    real = DynamicLayer() if window is None else DynamicSlidingWindowLayer(window)
    ours = adopt(real)
    assert ours.is_sliding == real.is_sliding and ours.get_mask_sizes(query) == real.get_mask_sizes(query)
    for width in widths:
        real.update(*torch.zeros(2, 1, 1, width, 2))
        ours.extend(identity, torch.zeros(1, width, 2), None, None)
        assert ours.get_seq_length() == real.get_seq_length()
        assert ours.get_mask_sizes(query) == real.get_mask_sizes(query)
        assert ours.get_max_length() == real.get_max_length()


def test_moves_between_two_calls_are_told_as_one() -> None:
    seen: list[Change] = []

    class Noting:
        def __call__(self, hidden: Tensor, mask: object, positions: object, change: Change, history: object) -> Tensor:
            seen.append(change)
            return hidden

    class Trunk:
        def sequence(self) -> Noting:
            return Noting()

    layer, trunk = adopt(DynamicLayer()), Trunk()
    layer.extend(trunk, torch.zeros(3, 4, 2), None, None)
    layer.reorder_cache(torch.tensor([2, 0, 1]))
    layer.reorder_cache(torch.tensor([1, 1]))
    layer.crop(-1)
    layer.crop(-2)
    layer.extend(trunk, torch.zeros(2, 1, 2), None, None)
    layer.extend(trunk, torch.zeros(2, 1, 2), None, None)
    assert seen[1].order.tolist() == [0, 0] and (seen[1].past, seen[1].dropped) == (1, 3)
    assert seen[0] == Change(0) and seen[2] == Change(2)
