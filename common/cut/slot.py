"""The stand-in for the hosted layers in a client's model."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Cache

from common.cut.families import Family
from common.cut.hosted_cache import hosted_layer
from common.errors import ModelError

Trunk = Callable[[Tensor, Tensor | None, Tensor | None], Tensor]
"""``trunk(hidden [B,T,H], attention_mask [B,T] or None, position_ids [B,T] or None) -> hidden [B,T,H]``.

The mask is the plain one: 0 padding, 1 a token, 2 a token with global attention (Longformer only). A trunk that keeps
keys and values has a method ``sequence()`` that answers a :class:`~common.cut.hosted_cache.Sequence`; any other computes
all columns anew in each step of ``generate``.
"""


@dataclass(frozen=True)
class _Batch:
    """What the model was called with: the layers see only masks that the library made from it."""

    length: int
    attention_mask: Any
    global_attention_mask: Tensor | None
    position_ids: Tensor | None


# The calls under way in this thread, innermost last: the layer list passes no plain mask on, and an attribute of the
# slot would be shared by all threads.
_CALLS: ContextVar[tuple[_Batch, ...]] = ContextVar("calls under way", default=())


class TrunkSlot(nn.Module):
    """Sends hidden states through the hosted layers, wherever they are; autograd goes through ``trunk``.

    ``trunk`` is not a submodule: its parameters are not the client's, and ``.to()``, ``.train()`` and ``state_dict()``
    do not reach it.
    """

    def __init__(self, family: Family, attention_type: str | None) -> None:
        super().__init__()
        self.reads_positions = family.reads_positions
        self.wraps_output = family.wraps_output
        # ModernBERT chooses a layer's mask by this attribute
        self.attention_type = attention_type
        # the place in a cache, set with that of the other layers
        self.layer_idx = 0
        self._held: tuple[Trunk | None] = (None,)

    @property
    def trunk(self) -> Trunk | None:
        """The hosted layers; None until connected."""
        return self._held[0]

    def connect(self, trunk: Trunk | None) -> None:
        """Sets the hosted layers, or takes them away."""
        # a tuple keeps nn.Module from registering a trunk that is a module
        self._held = (trunk,)

    def forward(self, hidden: Tensor, *args: Any, **kwargs: Any) -> Tensor | tuple[Tensor]:
        """Hidden states [B,T,H] after the hosted layers; the layer's other arguments are the library's own.

        Raises
        ------
        ModelError : no trunk is set, the cache is of a kind that does not grow, or the trunk answers another shape.
        """
        if self.trunk is None:
            raise ModelError("trunk is None: the hosted layers are not connected", "call set_trunk(model, trunk) first")
        batch = _CALLS.get()[-1]
        positions = batch.position_ids if self.reads_positions else None
        mask = _plain_mask(batch, hidden)
        cache = next((value for value in (*args, *kwargs.values()) if isinstance(value, Cache)), None)
        if cache is None:
            answer = self.trunk(hidden, mask, positions)
        else:
            answer = hosted_layer(cache, self.layer_idx).extend(self.trunk, hidden, mask, positions)
        if answer.shape != hidden.shape:
            raise ModelError(f"the trunk answered shape {tuple(answer.shape)!r} for {tuple(hidden.shape)!r}")
        return (answer,) if self.wraps_output else answer


def set_trunk(model: nn.Module, trunk: Trunk | None) -> None:
    """Connects a client's model (plain, or wrapped by PEFT) to the hosted layers.

    Raises
    ------
    ModelError : the model is not a client's side.
    """
    slots = [module for module in model.modules() if isinstance(module, TrunkSlot)]
    if len(slots) != 1:
        raise ModelError(f"the model has {len(slots)!r} places for a trunk, not 1", "make it with client_side")
    slots[0].connect(trunk)


def watch_calls(base: nn.Module) -> None:
    """Lets the slot of ``base`` (the model without a head) know the plain mask and positions of the call under way."""
    base.register_forward_pre_hook(_enter, with_kwargs=True)
    base.register_forward_hook(_leave, always_call=True)


def _enter(base: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    given = inspect.signature(base.forward).bind_partial(*args, **kwargs).arguments
    given |= given.pop("kwargs", {})
    tokens = given.get("input_ids") if given.get("input_ids") is not None else given.get("inputs_embeds")
    batch = _Batch(
        length=0 if tokens is None else tokens.shape[1],
        attention_mask=given.get("attention_mask"),
        global_attention_mask=given.get("global_attention_mask"),
        position_ids=given.get("position_ids"),
    )
    _CALLS.set((*_CALLS.get(), batch))


def _leave(base: nn.Module, args: tuple[Any, ...], output: Any) -> None:
    _CALLS.set(_CALLS.get()[:-1])


def _plain_mask(batch: _Batch, hidden: Tensor) -> Tensor | None:
    """The mask [B,T] for hidden states [B,T,H], with zeros where the library itself padded (Longformer's window)."""
    mask, extra = batch.attention_mask, hidden.shape[1] - batch.length
    if mask is not None and (not isinstance(mask, Tensor) or mask.ndim != 2):
        found = tuple(mask.shape) if isinstance(mask, Tensor) else type(mask).__name__
        raise ModelError(f"attention_mask is {found!r}, not of two dimensions", "give the padding mask [batch, length]")
    if mask is None and (extra or batch.global_attention_mask is not None):
        mask = torch.ones(hidden.shape[0], batch.length, dtype=torch.long, device=hidden.device)
    if batch.global_attention_mask is not None:
        mask = mask * (batch.global_attention_mask + 1)
    return nn.functional.pad(mask, (0, extra)) if extra else mask
