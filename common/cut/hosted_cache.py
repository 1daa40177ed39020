"""The hosted layers' place in a client's key-value cache: it keeps no keys, but what the hosted layers need to keep
theirs.

The library moves a cache's rows between two calls (beam search), and takes columns back (assisted decoding). Here that
is noted, and told to the hosted layers with the next hidden states.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import Cache
from transformers.cache_utils import CacheLayerMixin, DynamicLayer, DynamicSlidingWindowLayer

from common.cut.history import History
from common.errors import ModelError


@dataclass(frozen=True)
class Change:
    """What became of the columns sent so far, since the last call.

    Attributes
    ----------
    past : int
        Columns that stay.
    dropped : int
        Columns taken from the end before.
    order : Tensor or None
        Row i is what row ``order[i]`` was; None where no row moved.
    """

    past: int
    dropped: int = 0
    order: Tensor | None = None


class Sequence(Protocol):
    """Hosted layers that go on with one batch of sequences."""

    def __call__(
        self, hidden: Tensor, mask: Tensor | None, positions: Tensor | None, change: Change, history: History
    ) -> Tensor:
        """Hidden states [B,T,H] of the next T columns, after the hosted layers.

        Parameters
        ----------
        hidden : Tensor
            Hidden states [B,T,H] of these columns.
        mask : Tensor or None
            Mask of all columns, [B, past + T].
        positions : Tensor or None
            Positions of these columns, [B,T] or [1,T].
        change : Change
            What became of the columns before.
        history : History
            What was sent before, after ``change``; it does not hold these columns yet.
        """


class HostedLayer(CacheLayerMixin):
    """What stands at the hosted layers' index of a cache; sizes are those that a layer with keys would answer."""

    is_sliding = False
    is_croppable = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[no-untyped-call]  # transformers leaves it without types
        self.rows = 0
        self._order: Tensor | None = None
        self._dropped = 0
        self._trunk: Callable[..., Tensor] | None = None
        self._sequence: Sequence | None = None
        self._forget()

    def extend(
        self, trunk: Callable[..., Tensor], hidden: Tensor, mask: Tensor | None, positions: Tensor | None
    ) -> Tensor:
        """Sends the next columns [B,T,H] through the hosted layers.

        Raises
        ------
        ModelError : the number of rows is not that of the columns before.
        """
        if self.history.columns and len(hidden) != self.rows:
            raise ModelError(f"{len(hidden)!r} rows follow a cache of {self.rows!r}", "give the cache of these rows")
        if self._sequence is None or self._trunk is not trunk:
            maker = getattr(trunk, "sequence", None)
            self._trunk, self._sequence = trunk, Recomputed(trunk) if maker is None else maker()
        change = Change(self.history.columns, self._dropped, self._order)
        answer = self._sequence(hidden, mask, positions, change, self.history)
        self.history.append(hidden, positions)
        self._order, self._dropped = None, 0
        self.rows, self.cumulative_length, self.is_initialized = len(hidden), self.history.columns, True
        return answer

    def get_seq_length(self) -> int:
        """Columns sent so far."""
        return self.history.columns

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Notes that row i is what row ``beam_idx[i]`` was."""
        if self.history.columns:
            order = beam_idx.cpu()
            self.rows = len(order)
            self._order = order if self._order is None else self._order[order]
            self.history.reorder(order)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Notes that each row becomes ``repeats`` rows."""
        self.reorder_cache(torch.arange(self.rows).repeat_interleave(repeats))

    def batch_select_indices(self, indices: Tensor) -> None:
        """Notes which rows stay; booleans or indices."""
        self.reorder_cache(torch.arange(self.rows)[indices.cpu()])

    def crop(self, tokens_to_remove: int) -> None:
        """Notes that the last columns go; as in the library, the number is negative.

        Raises
        ------
        ModelError : the number is positive, or there are not so many columns.
        """
        if not 0 <= -tokens_to_remove <= self.history.columns:
            raise ModelError(f"crop({tokens_to_remove!r}) of {self.history.columns!r} columns", "crop by 0 or less")
        self.history.crop(-tokens_to_remove)
        self._dropped -= tokens_to_remove
        self.cumulative_length = self.history.columns

    def reset(self) -> None:
        """Forgets everything."""
        self._forget()

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """There are no keys here.

        Raises
        ------
        ModelError : always.
        """
        raise ModelError(
            "keys and values came for the hosted layers' place in the cache", "call the client's own model"
        )

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """There is nothing to make."""

    def offload(self) -> None:
        """There is nothing to move."""

    def prefetch(self) -> None:
        """There is nothing to move."""

    def __deepcopy__(self, memo: dict[int, Any]) -> HostedLayer:
        """A copy goes its own way: its first call sends everything anew."""
        copied = memo[id(self)] = adopt(self)
        copied.rows, copied.history = self.rows, self.history.copy()
        copied.cumulative_length, copied.is_initialized = self.history.columns, self.is_initialized
        return copied

    def _forget(self) -> None:
        self.history = History()
        self.cumulative_length, self.is_initialized = 0, False
        self._order, self._dropped = None, 0
        self._trunk = self._sequence = None


class HostedFullLayer(HostedLayer, DynamicLayer):
    """In a full attention layer's place."""


class HostedSlidingLayer(HostedLayer, DynamicSlidingWindowLayer):
    """In a sliding window layer's place."""

    is_sliding = True


class Recomputed:
    """Any trunk as a :class:`Sequence`: it computes every column again at each call."""

    def __init__(self, trunk: Callable[..., Tensor]) -> None:
        self._trunk = trunk

    def __call__(
        self, hidden: Tensor, mask: Tensor | None, positions: Tensor | None, change: Change, history: History
    ) -> Tensor:
        """See :class:`Sequence`."""
        everything = history.copy()
        everything.append(hidden, positions)
        whole, all_positions = everything.whole()
        return self._trunk(whole, mask, all_positions)[:, change.past :]


def hosted_layer(cache: Cache, place: int) -> HostedLayer:
    """The hosted layers' place in a cache; an empty layer of the library's gives way to it.

    Raises
    ------
    ModelError : the cache is of a fixed size, or it holds keys there.
    """
    while len(cache.layers) <= place and cache.layer_class_to_replicate is not None:
        cache.layers.append(cache.layer_class_to_replicate())
    found = cache.layers[place] if place < len(cache.layers) else None
    if isinstance(found, HostedLayer):
        return found
    if not isinstance(found, DynamicLayer) or found.is_compileable:
        raise ModelError(
            f"the cache has {type(found).__name__!r} in the hosted layers' place", "use a DynamicCache, the default"
        )
    if found.get_seq_length():
        raise ModelError("the cache holds keys in the hosted layers' place", "give an empty cache, or this model's own")
    adopted = cache.layers[place] = adopt(found)
    return adopted


def adopt(layer: CacheLayerMixin) -> HostedLayer:
    """An empty place of the same kind as ``layer``."""
    if isinstance(layer, DynamicSlidingWindowLayer):
        return HostedSlidingLayer(layer.sliding_window)
    return HostedFullLayer()
