"""The architectures that can be cut: where each keeps its layers, and what the server's half must leave out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedConfig

from common import files
from common.errors import ModelError
from common.models import load_config


@dataclass(frozen=True)
class Family:
    """Attribute paths of one architecture, relative to its base model (the one without a head).

    Attributes
    ----------
    prefix : what a model with a head calls its base model; the first part of its parameters' names.
    layers : path of the layer list.
    norm : the final norm, applied by the client; empty where the last layer ends the model.
    embeddings : the module that makes the first hidden states and that the base model calls even when it is given
        ``inputs_embeds``; the server passes hidden states through it unchanged.
    tokens : the table of token embeddings, where the base model calls it for ``input_ids`` only: the server has none.
    positions : the table of learned positions, where the base model adds it even to ``inputs_embeds``; the server adds
        zero.
    dropout : the dropout of the embeddings, where the base model applies it itself; the server does not.
    causal : whether the family has a causal language model head.
    reads_positions : whether the layers, or the mask made for them, depend on ``position_ids``; where they do not,
        positions stay on the client.
    wraps_output : whether a layer answers a tuple.
    """

    prefix: str
    layers: str
    norm: str = ""
    embeddings: str = ""
    tokens: str = ""
    positions: str = ""
    dropout: str = ""
    causal: bool = False
    reads_positions: bool = True
    wraps_output: bool = False


BERT_LIKE = Family("bert", "encoder.layer", embeddings="embeddings", reads_positions=False)
LLAMA_LIKE = Family("model", "layers", norm="norm", tokens="embed_tokens", causal=True)

FAMILIES: dict[str, Family] = {
    "bert": BERT_LIKE,
    "roberta": replace(BERT_LIKE, prefix="roberta"),
    "xlm-roberta": replace(BERT_LIKE, prefix="roberta"),
    "longformer": replace(BERT_LIKE, prefix="longformer", wraps_output=True),
    "modernbert": Family("model", "layers", norm="final_norm", embeddings="embeddings"),
    "llama": LLAMA_LIKE,
    "qwen2": LLAMA_LIKE,
    "qwen3": LLAMA_LIKE,
    "mistral": LLAMA_LIKE,
    "gemma": LLAMA_LIKE,
    "gemma2": LLAMA_LIKE,
    "gemma3_text": LLAMA_LIKE,
    "gpt2": Family("transformer", "h", norm="ln_f", tokens="wte", positions="wpe", dropout="drop", causal=True),
}
"""Families by the ``model_type`` of their configuration."""


def family_of(config: PreTrainedConfig) -> Family:
    """The family of a model.

    Raises
    ------
    ModelError : the architecture is not in :data:`FAMILIES`, is quantised, is one half of an encoder-decoder, or turns
        positions by what it has read before.
    """
    _check_known(config.model_type)
    if getattr(config, "quantization_config", None):
        raise ModelError("quantization_config is set: quantised weights cannot be cut", "use the unquantised model")
    for flag in ("is_encoder_decoder", "add_cross_attention"):
        if getattr(config, flag, False):
            raise ModelError(f"{flag} is True: layers that read a second input cannot be hosted", "use a plain model")
    for kind in _rotary_kinds(config):
        if "dynamic" in kind or kind == "longrope":
            raise ModelError(
                f"rope_type is {kind!r}: its frequencies follow the longest sequence of a batch and stay in the model,"
                " but hosted layers are shared by clients",
                "set 'split.on' to false, or use a model with 'default', 'linear', 'yarn' or 'llama3'",
            )
    return FAMILIES[config.model_type]


def check_writes(config: PreTrainedConfig) -> None:
    """Refuses what cannot be asked for words: a model that reads the tokens it is to write, or a second input.

    Raises
    ------
    ModelError : it is a masked language model's configuration, of both directions, or an encoder-decoder's.
    """
    family = FAMILIES.get(config.model_type)
    hint = "use a causal model, or 'model.recommender' = 'encoder'"
    if config.is_encoder_decoder:
        raise ModelError(f"{config.model_type!r} is an encoder-decoder: it has no language model head by itself", hint)
    if family is not None and not family.causal and not getattr(config, "is_decoder", False):
        raise ModelError(f"{config.model_type!r} has no causal head: it attends in both directions", hint)
    if getattr(config, "use_bidirectional_attention", False):
        raise ModelError("use_bidirectional_attention is True: such a model cannot write", hint)


def reads_back_only(config: PreTrainedConfig) -> bool:
    """Whether a model is known to let a token read only those before it."""
    family = FAMILIES.get(config.model_type)
    return family is not None and family.causal and not getattr(config, "use_bidirectional_attention", False)


def read_config(folder: Path | str) -> PreTrainedConfig:
    """The configuration of the whole model, from a model folder or from either side's folder.

    Raises
    ------
    ModelError : there is no readable ``config.json``, or the architecture is unknown.
    """
    _check_known(read_json(Path(folder) / "config.json").get("model_type"))
    return load_config(Path(folder))


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file of a model folder.

    Raises
    ------
    ModelError : the file is missing, is not JSON, or holds something else than an object.
    """
    return files.read_json(path, ModelError, "give a model folder in hub form, or fetch it again")


def _rotary_kinds(config: PreTrainedConfig) -> set[str]:
    """How rotary embeddings are scaled: one kind, or one for each type of attention."""
    parameters = getattr(config, "rope_parameters", None) or {}
    parts = [parameters, *(part for part in parameters.values() if isinstance(part, dict))]
    return {str(part["rope_type"]) for part in parts if "rope_type" in part}


def _check_known(model_type: object) -> None:
    if model_type not in FAMILIES:
        raise ModelError(
            f"model_type {model_type!r} cannot be cut", f"known architectures: {', '.join(sorted(FAMILIES))}"
        )
