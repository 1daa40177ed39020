"""RecFormer's embeddings (arXiv 2305.13731, equation 1): LayerNorm(word + position + token type + item position).

A Hugging Face encoder already sums word, position and token-type embeddings and normalises them. Only its table of
token types is replaced, by one that adds the token's kind and its item's position. Both travel in one number, as the
encoder's ``token_type_ids``.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from common.errors import ModelError
from common.recommenders.encoder.text import Kind, Sequences

NAMES = ("kind", "item_position")
"""The trained modules, as ``add_lora(..., also=NAMES)`` takes them."""


class ItemStructure(nn.Module):
    """What a token is and where: the base's first token type + kind + item position.

    The new tables start at zero, so that the encoder starts as it was trained. As all that is trained, they are float32,
    whatever the base computes in.
    """

    def __init__(self, base: nn.Embedding, history: int) -> None:
        super().__init__()
        self.base = base
        self.kind = _zeros(len(Kind), base)
        self.item_position = _zeros(history + 1, base)

    def forward(self, codes: Tensor) -> Tensor:
        """Embeddings [B, L, H] of codes int64 [B, L], as `token_codes` makes them."""
        structure = self.kind(codes % len(Kind)) + self.item_position(codes // len(Kind))
        base = self.base(torch.zeros_like(codes))
        found: Tensor = (structure + base).to(base.dtype)
        return found


def token_codes(batch: Sequences) -> Tensor:
    """Kind and item position of every token in one int64 [B, L]."""
    return batch.items * len(Kind) + batch.kinds


def add_item_structure(backbone: PreTrainedModel, history: int) -> PreTrainedModel:
    """Gives the backbone tables for the tokens' kinds and for ``history`` item positions; changes it in place.

    Raises
    ------
    ModelError : the backbone has no token-type embeddings, as BERT, RoBERTa and Longformer have them.
    """
    embeddings = getattr(backbone, "embeddings", None)
    base = getattr(embeddings, "token_type_embeddings", None)
    if embeddings is None or not isinstance(base, nn.Embedding):
        kind = backbone.config.model_type
        hint = "use 'model.positions' = 'model', or a BERT, RoBERTa or Longformer encoder"
        raise ModelError(f"model type {kind!r} has no token-type embeddings to build RecFormer's on", hint)
    embeddings.token_type_embeddings = ItemStructure(base, history)
    return backbone


def _zeros(rows: int, like: nn.Embedding) -> nn.Embedding:
    table = nn.Embedding(rows, like.embedding_dim, device=like.weight.device, dtype=torch.float32)
    nn.init.zeros_(table.weight)
    return table
