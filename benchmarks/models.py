"""Models with random weights, saved as a hub would have them."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoConfig, AutoModel

VOCABULARY = 2000
TARGETS = {"bert": ("query", "value"), "llama": ("q_proj", "v_proj")}
"""The linear layers that get LoRA."""


def save_model(folder: Path, kind: str, width: int, layers: int, heads: int) -> Path:
    """A ``bert`` or ``llama`` with hidden size ``width`` and an inner size of four times that."""
    config = AutoConfig.for_model(
        kind,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        vocab_size=VOCABULARY,
        max_position_embeddings=512,
        pad_token_id=0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        AutoModel.from_config(config).save_pretrained(folder)
    return folder
