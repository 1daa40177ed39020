"""What is trained above the encoder: how a reader's taste and an item's meaning are turned towards each other.

A text encoder puts like texts together. Whom they please in common (readers of mountaineering who knit) it cannot know,
and low-rank adapters learn it slowly from few examples. Two square matrices on the pooled vectors, one for users and one
for items, learn it quickly. They start as the identity, so that a recommender starts as its encoder.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Projection(nn.Module):
    """``normalise(x + W x)`` with W [H, H] zero at the start: users' vectors by ``user``, items' by ``item``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.user = nn.Parameter(torch.zeros(width, width))
        self.item = nn.Parameter(torch.zeros(width, width))

    def users(self, vectors: Tensor) -> Tensor:
        """[B, H] to [B, H], rows of length 1."""
        return functional.normalize(vectors + vectors @ self.user.T, dim=-1)

    def items(self, vectors: Tensor) -> Tensor:
        """[n_items, H] to [n_items, H], rows of length 1."""
        return functional.normalize(vectors + vectors @ self.item.T, dim=-1)


class Identity(nn.Module):
    """In place of a projection, where there is none: RecFormer as published."""

    def users(self, vectors: Tensor) -> Tensor:
        return vectors

    def items(self, vectors: Tensor) -> Tensor:
        return vectors
