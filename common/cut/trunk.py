"""The hosted layers as one module."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel

from common.cut.families import Family
from common.cut.history import History
from common.cut.hosted_cache import Change
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
        self,
        hidden: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        cache: DynamicCache | None = None,
    ) -> Tensor:
        """Hidden states after the hosted layers, as :data:`~common.cut.slot.Trunk` says.

        Parameters
        ----------
        hidden : [B,T,H], floating point. attention_mask : [B,T], integers. position_ids : [B,T] or [1,T], integers.
        cache : from :meth:`new_cache`; grows by T columns. The mask is that of all its columns then.
        """
        more: dict[str, Any] = {"position_ids": position_ids} if self.family.reads_positions else {}
        if cache is not None:
            more |= {"past_key_values": cache, "use_cache": True}
        base = getattr(self, self.family.prefix)
        after: Tensor = base(inputs_embeds=hidden, attention_mask=attention_mask, **more).last_hidden_state
        return after

    @property
    def generates(self) -> bool:
        """Whether :meth:`new_cache` makes one."""
        return self.family.causal

    def new_cache(self) -> DynamicCache:
        """An empty cache for the hosted layers.

        Raises
        ------
        ModelError : the family does not generate.
        """
        if not self.generates:
            raise ModelError(f"{self.config.model_type!r} keeps no key-value cache", "only causal models generate")
        return DynamicCache(config=self.config)

    def cache_bytes(self, rows: int, columns: int) -> int:
        """Memory that a cache takes at most while it grows to this size: one layer is held twice then."""
        heads: int = getattr(self.config, "num_key_value_heads", None) or self.config.num_attention_heads
        width: int = (
            getattr(self.config, "head_dim", None) or self.config.hidden_size // self.config.num_attention_heads
        )
        itemsize = next(self.parameters()).dtype.itemsize
        layers: int = self.config.num_hidden_layers
        return (layers + 1) * 2 * rows * columns * heads * width * itemsize

    def sequence(self) -> CachedSequence:
        """For a client's model in the same process."""
        return CachedSequence(self)


class CachedSequence:
    """A :class:`~common.cut.hosted_cache.Sequence` of hosted layers in the same process."""

    def __init__(self, trunk: ServerTrunk) -> None:
        self._trunk = trunk
        self._cache: DynamicCache | None = None

    def __call__(
        self, hidden: Tensor, mask: Tensor | None, positions: Tensor | None, change: Change, history: History
    ) -> Tensor:
        """See :class:`~common.cut.hosted_cache.Sequence`."""
        cache = self._cache
        # a sliding window has lost what lies before the dropped columns
        if cache is not None and change.past and cache.get_seq_length() == change.past and not change.dropped:
            if change.order is not None:
                cache.reorder_cache(change.order.long())  # type: ignore[arg-type]  # torch makes no LongTensor
            following: Tensor = self._trunk(hidden, mask, positions, cache)
            return following
        self._cache = self._trunk.new_cache()
        everything = history.copy()
        everything.append(hidden, positions)
        whole, all_positions = everything.whole()
        after: Tensor = self._trunk(whole, mask, all_positions, self._cache)
        return after[:, change.past :]
