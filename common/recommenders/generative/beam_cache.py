"""A key-value cache for beams of one prompt: the prompt is read once, and never moved again.

The library's own cache appends a column by copying all columns, and copies them again whenever beams change places. All
beams of a user have the same prompt, so that only what follows it has to move.
"""

from __future__ import annotations

from typing import Any, Protocol, cast

from torch import Tensor
from transformers import Cache
from transformers.cache_utils import DynamicLayer


class BeamLayer(DynamicLayer):
    """One layer's keys and values [B * beams, heads, columns, width], as views of buffers with room for what comes.

    Parameters
    ----------
    prompt : DynamicLayer
        The library's layer after the prompts, [B, heads, prompt columns, width].
    beams : int
        Rows that each of its rows becomes.
    room : int
        Columns that may follow.
    """

    def __init__(self, prompt: DynamicLayer, beams: int, room: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # transformers leaves it without types
        # a layer that has read a prompt holds both
        keys, values = cast(tuple[Tensor, Tensor], (prompt.keys, prompt.values))
        self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True
        self._prompt = self._length = keys.shape[-2]
        self._buffers = (_spread(keys, beams, room), _spread(values, beams, room))
        self._view()

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Writes the next columns [B * beams, heads, T, width]; all columns so far."""
        end = self._length + key_states.shape[-2]
        for buffer, states in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[:, :, self._length : end] = states
        self._length = end
        return self._view()

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Row i becomes what row ``beam_idx[i]``, a beam of the same user, was."""
        order = beam_idx.to(self.device)
        for buffer in self._buffers:
            tail = buffer[:, :, self._prompt : self._length]
            tail.copy_(tail.index_select(0, order))

    def _view(self) -> tuple[Tensor, Tensor]:
        keys, values = (buffer[:, :, : self._length] for buffer in self._buffers)
        self.keys, self.values = keys, values
        return keys, values


def for_beams(cache: Cache, beams: int, room: int) -> Cache:
    """The cache of prompts [B, ...] for ``beams`` beams of each; layers of another kind than the plain one only repeat."""
    for place, layer in enumerate(cache.layers):
        if type(layer) is DynamicLayer:
            cache.layers[place] = BeamLayer(layer, beams, room)
        else:
            cast(_Repeatable, layer).batch_repeat_interleave(beams)
    return cache


class _Repeatable(Protocol):
    """What every layer of the library that keeps states can do, though their common base does not say so."""

    def batch_repeat_interleave(self, repeats: int) -> None: ...


def _spread(states: Tensor, beams: int, room: int) -> Tensor:
    rows, heads, columns, width = states.shape
    buffer = states.new_empty(rows, beams, heads, columns + room, width)
    buffer[:, :, :, :columns] = states.unsqueeze(1)
    return buffer.flatten(0, 1)
