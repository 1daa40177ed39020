"""The library's own search for the likeliest answers, greedy or by beams, with every prompt read once."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList, PreTrainedModel
from transformers.generation.utils import GenerateOutput

from common.recommenders.generative.beam_cache import for_beams
from common.recommenders.generative.prompt import Batch, Prompts


class Answers(NamedTuple):
    """The best answers of each prompt, best first.

    Attributes
    ----------
    sequences : Tensor
        Ids [B * returned, T], prompt included.
    sequences_scores : Tensor or None
        Log-likelihoods float32 [B * returned]; None of one beam, which the library does not score.
    """

    sequences: Tensor
    sequences_scores: Tensor | None


@torch.no_grad()
def search(
    model: PreTrainedModel,
    prompts: Prompts,
    batch: Batch,
    beams: int,
    returned: int,
    new_tokens: int,
    length_penalty: float = 1.0,
    processor: LogitsProcessor | None = None,
) -> Answers:
    """The ``returned`` best answers of each prompt, best first: ids ``sequences`` [B * returned, T], prompt included.

    With more than one beam ``sequences_scores`` float32 [B * returned] are the answers' log-likelihoods, divided by their
    length to the power of ``length_penalty``: 0 leaves exact sums. What the model's folder says about generation is
    taken off the model: it is for chats.
    """
    # what is not set below the library takes from the model's folder: penalties, barred words, a kind of cache
    model.generation_config = GenerationConfig(use_cache=model.generation_config.use_cache)
    config = GenerationConfig(
        max_new_tokens=new_tokens,
        num_beams=beams,
        num_return_sequences=returned,
        do_sample=False,
        length_penalty=length_penalty if beams > 1 else None,
        early_stopping=False,
        eos_token_id=prompts.eos,
        pad_token_id=prompts.pad,
        return_dict_in_generate=True,
        output_scores=beams > 1,
    )
    inputs: dict[str, Any] = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
    if beams > 1 and model.generation_config.use_cache is not False:
        # the library would read a prompt once for each beam
        start = Batch(*(tensor[:, :-1] for tensor in batch))
        cache = model.base_model(**start._asdict(), use_cache=True).past_key_values
        inputs["past_key_values"] = for_beams(cache, beams, new_tokens + 1)
    # transformers declares the method of a type that it keeps to itself
    found: GenerateOutput = cast(Any, model).generate(
        **inputs, generation_config=config, logits_processor=LogitsProcessorList([processor] if processor else [])
    )
    return Answers(found.sequences, getattr(found, "sequences_scores", None))
