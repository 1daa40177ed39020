"""One pass of one or several clients' rows through the hosted layers, and the way back.

The way back always differentiates a pass. Where its graph was not held, the pass is made again from its inputs: the
same operations on the same values, so the gradients are the same to the bit.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from common.wire import Rows
from server_app.split.adapter import Gradients, HostedAdapter
from server_app.split.lora import HostedTrunk, Segment

SHAPES = 4096
"""Shapes of batches whose graphs' sizes are remembered."""


@dataclass(frozen=True)
class Member:
    """One client's part of a pass: its tokens [tokens, H] and where they lie in its batch.

    Without an adapter it is the base model's own; then no other member has one.
    """

    adapter: HostedAdapter | None
    rows: Rows
    tokens: Tensor


class Pass:
    """Runs the members' rows through the trunk in one batch.

    Parameters
    ----------
    held : whether to keep the autograd graph for :meth:`backward`.

    Attributes
    ----------
    outputs : per member its tokens [tokens, H] after the hosted layers, in main memory.
    nbytes : of what the graph keeps alive, without weights; 0 unless held.
    seconds : that the pass took.
    """

    def __init__(self, trunk: HostedTrunk, members: Sequence[Member], held: bool) -> None:
        begun = time.monotonic()
        self._rows = Rows.join([member.rows for member in members])
        self._members, self._segments = members, _segments(members)
        tokens = torch.cat([member.tokens for member in members]) if len(members) > 1 else members[0].tokens
        self._input = self._rows.unpack(tokens.to(trunk.device)).requires_grad_(held)
        mask, positions = self._rows.attention_mask(), self._rows.position_ids()
        shape = (self._rows.count, self._rows.width)
        with torch.set_grad_enabled(held), _measured(trunk, shape) if held else nullcontext():
            output = trunk(self._segments if members[0].adapter else [], self._input, mask, positions)
        self.outputs = self._split(output.detach())
        self._output = output if held else None
        self.nbytes = trunk.graph_bytes[shape] if held else 0
        self.seconds = time.monotonic() - begun

    def backward(self, gradients: Sequence[Tensor]) -> list[tuple[Tensor, Gradients]]:
        """Per member the gradients of its input [tokens, H] and of its adapter. Frees the graph.

        Parameters
        ----------
        gradients : of each member's output, [tokens, H].
        """
        together = torch.cat(list(gradients)) if len(gradients) > 1 else gradients[0]
        leaves = [parameter for member in self._members for parameter in member.adapter.parameters.values()]
        output, self._output = self._output, None
        found = torch.autograd.grad(
            output, [self._input, *leaves], self._rows.unpack(together.to(output.device)), allow_unused=True
        )
        inputs, rest = self._split(found[0]), list(found[1:])
        results = []
        for member, gradient in zip(self._members, inputs, strict=True):
            count = len(member.adapter.parameters)
            results.append((gradient, rest[:count]))
            del rest[:count]
        return results

    def _split(self, batch: Tensor) -> list[Tensor]:
        """Each member's tokens of a batch [B,T,H]."""
        return [
            member.rows.pack(batch[one.begin : one.end, : member.rows.width]).cpu()
            for member, one in zip(self._members, self._segments, strict=True)
        ]


@contextmanager
def _measured(trunk: HostedTrunk, shape: tuple[int, int]) -> Iterator[None]:
    """Measures, the first time that a batch has this shape, the memory that autograd saves for the way back."""
    if shape in trunk.graph_bytes:
        yield
        return
    seen, nbytes = set(trunk.storages), 0

    def count(tensor: Tensor) -> Tensor:
        nonlocal nbytes
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in seen:
            seen.add(storage.data_ptr())
            nbytes += storage.nbytes()
        # a node that saves its own output, history and all, would keep itself alive for ever
        return tensor.detach()

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        yield
    if len(trunk.graph_bytes) >= SHAPES:
        trunk.graph_bytes.clear()
    trunk.graph_bytes[shape] = nbytes


def _segments(members: Sequence[Member]) -> list[Segment]:
    segments, begin = [], 0
    for member in members:
        segments.append(Segment(begin, begin + member.rows.count, member.adapter))
        begin += member.rows.count
    return segments
