from __future__ import annotations

import pytest
import torch
from transformers import GenerationConfig, MistralConfig, MistralForCausalLM, PreTrainedModel, set_seed

from common.recommenders.generative.prompt import Batch, Prompts, Template
from common.recommenders.generative.search import search
from tests.common.recommenders.causal import byte_level, gpt2, llama

TOKENIZER = byte_level()
PROMPTS = Prompts(TOKENIZER, Template("Name a game", 3, 256, 8))


class Shop:
    items = [{"title": title} for title in ("Halo", "Halo 3", "Tetris!", "1942")]


def windowed() -> PreTrainedModel:
    set_seed(0)
    config = MistralConfig(
        vocab_size=len(TOKENIZER),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=32,
        max_position_embeddings=512,
        sliding_window=8,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
        initializer_range=0.3,
    )
    return MistralForCausalLM(config).eval()


MODELS = {"llama": llama(len(TOKENIZER)), "gpt2": gpt2(len(TOKENIZER)), "sliding window": windowed()}


def batch() -> Batch:
    return PROMPTS.encode([[0], [1, 2, 3]], PROMPTS.titles(Shop))


@pytest.mark.parametrize("beams", [1, 4])
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())
def test_it_finds_what_the_library_finds_that_reads_a_prompt_for_each_beam(model: PreTrainedModel, beams: int) -> None:
    found = search(model, PROMPTS, batch(), beams, beams, 10)
    config = GenerationConfig(
        max_new_tokens=10,
        num_beams=beams,
        num_return_sequences=beams,
        do_sample=False,
        eos_token_id=PROMPTS.eos,
        pad_token_id=PROMPTS.pad,
        return_dict_in_generate=True,
        output_scores=True,
    )
    own = model.generate(input_ids=batch().input_ids, attention_mask=batch().attention_mask, generation_config=config)
    assert torch.equal(found.sequences, own.sequences)
    if beams > 1:
        torch.testing.assert_close(found.sequences_scores, own.sequences_scores, atol=1e-5, rtol=0)


def test_it_finds_the_same_without_a_cache() -> None:
    model = llama(len(TOKENIZER))
    cached = search(model, PROMPTS, batch(), 3, 3, 8)
    model.generation_config.use_cache = False
    assert torch.equal(search(model, PROMPTS, batch(), 3, 3, 8).sequences, cached.sequences)


FOLDERS = [
    {
        "do_sample": True,
        "temperature": 5.0,
        "top_k": 2,
        "repetition_penalty": 3.0,
        "no_repeat_ngram_size": 1,
        "eos_token_id": [5, 6, 7],
    },
    {"suppress_tokens": list(range(2, 290))},
    {"begin_suppress_tokens": list(range(2, 290))},
    {"min_new_tokens": 8},
    {"bad_words_ids": [[token] for token in range(2, 290)]},
    {"exponential_decay_length_penalty": [1, 2.0]},
    {"forced_eos_token_id": 1},
    {"encoder_repetition_penalty": 2.0},
    {"guidance_scale": 2.0},
    {"stop_strings": "a"},
    {"max_time": 0.0},
    {"max_length": 5},
    {"cache_implementation": "static"},
    {"prompt_lookup_num_tokens": 3},
]


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("said", FOLDERS, ids=lambda said: next(iter(said)))
def test_what_the_folder_says_about_generation_does_not_count(said: dict, beams: int) -> None:
    model = llama(len(TOKENIZER))
    expected = search(model, PROMPTS, batch(), beams, 1, 8)
    model.generation_config = GenerationConfig(**said)
    found = search(model, PROMPTS, batch(), beams, 1, 8)
    assert torch.equal(found.sequences, expected.sequences)
    if beams > 1:
        assert torch.equal(found.sequences_scores, expected.sequences_scores)
