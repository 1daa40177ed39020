"""The identity of what a model computes with its weights: a digest of its configuration."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig

from common.cut.families import read_config

UNESSENTIAL = frozenset(
    {
        "architectures",
        "attn_implementation",
        "bos_token_id",
        "chunk_size_feed_forward",
        "cls_token_id",
        "dtype",
        "eos_token_id",
        "finetuning_task",
        "gradient_checkpointing",
        "id2label",
        "initializer_factor",
        "initializer_range",
        "label2id",
        "name_or_path",
        "output_attentions",
        "output_hidden_states",
        "position_embedding_type",
        "problem_type",
        "return_dict",
        "sep_token_id",
        "task_specific_params",
        "torch_dtype",
        "transformers_version",
        "use_cache",
    }
)
"""How a model was saved, made, or is to be asked: none of it changes a hidden state."""


def config_digest(folder: Path | str) -> str:
    """SHA-256 over what a model's ``config.json`` says of its computation, as hexadecimal digits.

    It is read as transformers reads it: the same model saved by another version of transformers, with other names for
    its fields or with defaults left out, has the same digest. Dropout does not count, nobody draws any.

    Raises
    ------
    ModelError : there is no readable ``config.json``, or the architecture is unknown.
    """
    return hashlib.sha256(json.dumps(essence(read_config(folder)), sort_keys=True).encode()).hexdigest()


def essence(config: PreTrainedConfig) -> dict[str, Any]:
    """The fields that decide what is computed and that are not their family's default, in a form JSON can hold.

    Left out defaults keep the digest where a newer version adds a field.
    """
    usual = type(config)().to_dict()
    found = {
        name: _plain(value)
        for name, value in config.to_dict().items()
        if name not in UNESSENTIAL
        and not name.startswith("_")
        and "drop" not in name
        and (name not in usual or value != usual[name])
    }
    return {"model_type": config.model_type, **found}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        # the older name of the same field, which transformers keeps beside the newer
        older = {"type"} if "rope_type" in value else set()
        return {str(name): _plain(one) for name, one in value.items() if name not in older}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value if isinstance(value, str | bool | float | None) else str(value)
