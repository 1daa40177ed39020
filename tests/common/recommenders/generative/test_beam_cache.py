from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers import DynamicCache, MistralConfig

from common.recommenders.generative.beam_cache import BeamLayer, for_beams

ROWS, BEAMS, PROMPT = 2, 3, 4


def columns(rows: int, count: int, seed: int) -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(rows, 2, count, 5, generator=random) for _ in range(2))


def caches() -> tuple[DynamicCache, DynamicCache]:
    """The library's own, repeated, and the one for beams, after the same prompt of two layers."""
    own, beams = DynamicCache(), DynamicCache()
    for cache in (own, beams):
        for layer in range(2):
            cache.update(*columns(ROWS, PROMPT, layer), layer)
    own.batch_repeat_interleave(BEAMS)
    return own, for_beams(beams, BEAMS, room=6)


def test_it_holds_what_the_library_s_cache_holds_through_beams_that_change_places() -> None:
    own, beams = caches()
    for step, order in enumerate([[0, 1, 2, 3, 4, 5], [1, 1, 0, 5, 3, 3], [2, 0, 0, 4, 4, 4]]):
        for layer in range(2):
            states = columns(ROWS * BEAMS, 2, 10 * step + layer)
            for found, expected in zip(beams.update(*states, layer), own.update(*states, layer), strict=True):
                assert torch.equal(found, expected)
        assert beams.get_seq_length() == own.get_seq_length() == PROMPT + 2 * (step + 1)
        assert beams.get_mask_sizes(1, 0) == own.get_mask_sizes(1, 0)
        for cache in (own, beams):
            cache.reorder_cache(torch.tensor(order))
    for layer in range(2):
        assert torch.equal(beams.layers[layer].keys, own.layers[layer].keys)
        assert torch.equal(beams.layers[layer].values, own.layers[layer].values)


def test_more_columns_than_there_is_room_for_are_refused() -> None:
    _, beams = caches()
    with pytest.raises(RuntimeError):
        beams.update(*columns(ROWS * BEAMS, 7, 0), 0)


def test_layers_of_another_kind_repeat_as_the_library_does_it() -> None:
    config = MistralConfig(num_hidden_layers=2, sliding_window=3)
    cache = DynamicCache(config=config)
    for layer in range(2):
        cache.update(*columns(ROWS, PROMPT, layer), layer)
    kinds = [type(layer) for layer in cache.layers]
    assert BeamLayer not in kinds
    assert [type(layer) for layer in for_beams(cache, BEAMS, room=2).layers] == kinds
    assert len(cache.layers[0].keys) == ROWS * BEAMS
