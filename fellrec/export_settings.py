"""What an exported folder says of how its scores are made, beside the adapter: ``recommender.json``."""

from __future__ import annotations

from typing import Any, cast

from transformers import PreTrainedConfig

from common.config import RunConfig
from common.recommenders.encoder.recommender import EncoderRecommender
from common.recommenders.generative.recommender import GenerativeRecommender
from common.recommenders.recommender import Recommender

SETTINGS, ITEMS = "recommender.json", "items.safetensors"
KEY, VALUE = " {}:", " {}"
"""Texts of an attribute's name and value, tokenised one by one as ``tokenise_items`` of the encoder's texts does."""


def encoded_by(config: RunConfig) -> str:
    """What the item matrix is made by: the ``base`` model, the model with the ``adapter``, or nothing any more: a ``file``.

    A matrix frozen from round 1 on is the untrained model's, one frozen later that of a model that is gone.
    """
    if config.model.recommender == "generative" or config.train.freeze_items_from == 1:
        return "base"
    return "file" if config.train.freeze_items_from else "adapter"


def export_settings(recommender: Recommender, config: RunConfig) -> dict[str, Any]:
    """All that the scores depend on but weights and tokenizer, ready for JSON; ids are the exported tokenizer's."""
    model, items = config.model, {"encoded_by": encoded_by(config)}
    if items["encoded_by"] == "file":
        items["file"] = ITEMS
    told = {
        "recommender": model.recommender,
        "dtype": {"fp32": "float32", "bf16": "bfloat16"}[model.dtype],
        "quantise": model.quantise,
        "history": model.history,
        "max_tokens": model.max_tokens,
        "items": items,
        "batch": config.evaluate.batch_size,
    }
    if isinstance(recommender, EncoderRecommender):
        return told | _of_encoder(recommender, config)
    return told | _of_generative(cast(GenerativeRecommender, recommender), config)


def _of_encoder(recommender: EncoderRecommender, config: RunConfig) -> dict[str, Any]:
    model, special = config.model, recommender.special
    kind = cast(PreTrainedConfig, recommender.backbone.config).model_type
    return {
        "text": {"key": KEY, "value": VALUE, "order": "newest item first"},
        "item_tokens": model.item_tokens,
        "before": special.before,
        "after": special.after,
        "pad": special.pad,
        "pooling": recommender.pooling,
        "global_first": kind == "longformer",
        "recency": model.recency,
        "projection": model.projection,
        "temperature": model.temperature,
    }


def _of_generative(recommender: GenerativeRecommender, config: RunConfig) -> dict[str, Any]:
    prompts, generate = recommender.prompts, config.generate
    template = prompts.template
    return {
        "text": {
            "head": template.head,
            "between": template.between,
            "tail": template.tail,
            "end": template.end,
            "order": "newest title last",
        },
        "title_tokens": template.title_tokens,
        "before": prompts.before,
        "eos": prompts.eos,
        "pad": prompts.pad,
        "adds_space": prompts.pieces.adds_space,
        "instruction": generate.instruction,
        "beams": generate.beams,
        "grounding": generate.grounding,
        "embedding": generate.embedding,
    }
