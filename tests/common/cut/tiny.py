"""Tiny models of every family, with random weights, saved in the hub's own folder form."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from common.cut import FAMILIES

LAYERS = 5
VOCABULARY = 61
CAUSAL = sorted(name for name, family in FAMILIES.items() if family.causal)
SHAPE = {"hidden_size": 16, "num_attention_heads": 4, "intermediate_size": 24, "max_position_embeddings": 64}
TOKENS = {"vocab_size": VOCABULARY, "pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
TYPES = ["full_attention", "sliding_attention", "full_attention", "sliding_attention", "sliding_attention"]
GROUPED = {**SHAPE, "num_key_value_heads": 2}
SETTINGS: dict[str, dict] = {
    "bert": SHAPE,
    "roberta": SHAPE,
    "xlm-roberta": SHAPE,
    "longformer": {**SHAPE, "attention_window": [4, 8, 4, 8, 4]},
    "modernbert": {**SHAPE, "local_attention": 4, "layer_types": TYPES, "cls_token_id": 0, "sep_token_id": 2},
    "llama": GROUPED,
    "qwen2": {**GROUPED, "use_sliding_window": True, "sliding_window": 3, "layer_types": TYPES},
    "qwen3": {**GROUPED, "head_dim": 4, "use_sliding_window": True, "sliding_window": 3, "layer_types": TYPES},
    "mistral": {**GROUPED, "head_dim": 4, "sliding_window": 3},
    "gemma": {**GROUPED, "head_dim": 4},
    "gemma2": {**GROUPED, "head_dim": 4, "sliding_window": 3, "layer_types": TYPES},
    "gemma3_text": {**GROUPED, "head_dim": 4, "sliding_window": 3, "layer_types": TYPES},
    "gpt2": {"n_embd": 16, "n_head": 4, "n_positions": 64, "scale_attn_by_inverse_layer_idx": True},
}
BERT_DROPOUT = {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}
PUBLISHED_DROPOUT: dict[str, dict] = {
    **dict.fromkeys(FAMILIES, {"attention_dropout": 0.1}),
    **dict.fromkeys(("bert", "roberta", "xlm-roberta", "longformer"), BERT_DROPOUT),
    "modernbert": {"attention_dropout": 0.1, "embedding_dropout": 0.1, "mlp_dropout": 0.1},
    "gpt2": {"attn_pdrop": 0.1, "embd_pdrop": 0.1, "resid_pdrop": 0.1},
}
"""All that a family's published configurations can set."""


def tiny_config(family: str, **changes: object) -> PreTrainedConfig:
    """Five layers of hidden size 16; where the family mixes attention types, both occur on both sides of most cuts."""
    return AutoConfig.for_model(family, **{**TOKENS, **SETTINGS[family], "num_hidden_layers": LAYERS, **changes})


def save_tiny(
    family: str, folder: Path, causal: bool = False, shard: str = "5GB", seed: int = 7, **changes: object
) -> Path:
    """Saves a model whose every weight, norms and biases too, is random."""
    torch.manual_seed(seed)
    model = (AutoModelForCausalLM if causal else AutoModel).from_config(tiny_config(family, **changes))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.2)
    model.save_pretrained(folder, max_shard_size=shard)
    return folder


def edit_config(folder: Path, **changes: object) -> None:
    """Writes fields into a saved model's ``config.json``; None takes one away."""
    file = folder / "config.json"
    fields = {**json.loads(file.read_text()), **changes}
    file.write_text(json.dumps({name: value for name, value in fields.items() if value is not None}))


def load_whole(
    folder: Path, causal: bool = False, attn_implementation: str | None = None, dtype: torch.dtype = torch.float32
) -> PreTrainedModel:
    """The whole model, by the library's own loader: frozen and without a cache, as a cut model's base is.

    Both choose among kernels that round differently: ``matmul`` by the weights' ``requires_grad`` (a Longformer differs
    by 1e-6 then), attention by whether keys went through a cache and became contiguous (an eager GPT-2 does).
    """
    model = (AutoModelForCausalLM if causal else AutoModel).from_pretrained(
        folder, dtype=dtype, attn_implementation=attn_implementation
    )
    model.config.use_cache = False
    return model.requires_grad_(False)


def batch(padding: str) -> dict[str, Tensor]:
    """Three rows of 11 tokens, of lengths 11, 7 and 3, padded on one side or (``none``) not at all."""
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(3, VOCABULARY, (3, 11), generator=generator)
    if padding == "none":
        return {"input_ids": ids}
    mask = torch.zeros_like(ids)
    for row, length in zip(mask, (11, 7, 3), strict=True):
        row[slice(0, length) if padding == "right" else slice(11 - length, 11)] = 1
    return {"input_ids": ids.masked_fill(mask == 0, 1), "attention_mask": mask}


def real_positions(inputs: dict[str, Tensor]) -> Tensor:
    """Where the batch holds tokens, [B,T] booleans."""
    return inputs.get("attention_mask", torch.ones_like(inputs["input_ids"])).bool()
