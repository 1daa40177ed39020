"""The hosted layers as one module."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from common.cut.families import Family
from common.errors import ModelError


class PassThrough(nn.Module):
    """In the place of the embeddings of a hosted model: hidden states go in as ``inputs_embeds`` and come out."""

    def forward(self, input_ids: Tensor | None = None, inputs_embeds: Tensor | None = None, **_: Any) -> Tensor:
        if inputs_embeds is None:
            raise ModelError(
                "the length of the hidden states is no multiple of attention_window",
                "send them as the client's model pads them",
            )
        return inputs_embeds


class NoPositions(nn.Module):
    """In the place of a table of learned positions, which the client has already added."""

    def forward(self, position_ids: Tensor) -> Tensor:
        return torch.zeros((), device=position_ids.device)


class ServerTrunk(nn.Module):
    """The hosted layers: hidden states in, hidden states out. Base weights are frozen.

    The base model lies under the name that a model with a head gives it, so that the names of its parameters are
    the whole model's (see :func:`~common.cut.names.whole_name`).
    """

    def __init__(self, base: PreTrainedModel, family: Family) -> None:
        super().__init__()
        self.config = base.config
        self.family = family
        self.add_module(family.prefix, base)

    def forward(
        self, hidden: Tensor, attention_mask: Tensor | None = None, position_ids: Tensor | None = None
    ) -> Tensor:
        """Hidden states after the hosted layers, as :data:`~common.cut.slot.Trunk` says.

        Parameters
        ----------
        hidden : [B,T,H], floating point. attention_mask : [B,T], integers. position_ids : [B,T] or [1,T], integers.
        """
        positions = {"position_ids": position_ids} if self.family.reads_positions else {}
        base = getattr(self, self.family.prefix)
        return base(inputs_embeds=hidden, attention_mask=attention_mask, **positions).last_hidden_state
