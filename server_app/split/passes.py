"""One pass of one or several clients' rows through the hosted layers, and the way back.

The way back always differentiates a pass. Where its graph was not held, the pass is made again from its inputs: the
same operations on the same values, so the gradients are the same to the bit.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from itertools import accumulate, chain, islice

import torch
from torch import Tensor

from common.errors import SplitError
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
        self._members, self._spans = members, _spans(members)
        tokens = torch.cat([member.tokens for member in members]) if len(members) > 1 else members[0].tokens
        self._input = self._rows.unpack(tokens.to(trunk.device)).requires_grad_(held)
        mask, positions = self._rows.attention_mask(), self._rows.position_ids()
        shape = (self._rows.count, self._rows.width)
        with torch.set_grad_enabled(held), _measured(trunk, shape) if held else nullcontext():
            output = trunk(_segments(members, self._spans), self._input, mask, positions)
        self.outputs = self._split(output.detach())
        self._output: Tensor | None = output if held else None
        self.nbytes = trunk.graph_bytes[shape] if held else 0
        self.seconds = time.monotonic() - begun

    def backward(self, gradients: Sequence[Tensor]) -> list[tuple[Tensor, Gradients]]:
        """Per member the gradients of its input [tokens, H] and of its adapter. Frees the graph.

        Parameters
        ----------
        gradients : of each member's output, [tokens, H].

        Raises
        ------
        SplitError : there is no graph, or it was used.
        """
        together = torch.cat(list(gradients)) if len(gradients) > 1 else gradients[0]
        leaves = [list(member.adapter.parameters.values()) if member.adapter else [] for member in self._members]
        output, self._output = self._output, None
        if output is None:
            raise SplitError("a pass has no graph for its way back", "hold it, and use it once")
        found = torch.autograd.grad(
            output,
            [self._input, *chain.from_iterable(leaves)],
            self._rows.unpack(together.to(output.device)),
            allow_unused=True,
        )
        rest = iter(found[1:])
        return [
            (gradient, list(islice(rest, len(own))))
            for gradient, own in zip(self._split(found[0]), leaves, strict=True)
        ]

    def _split(self, batch: Tensor) -> list[Tensor]:
        """Each member's tokens of a batch [B,T,H]."""
        return [
            member.rows.pack(batch[begin:end, : member.rows.width]).cpu()
            for member, (begin, end) in zip(self._members, self._spans, strict=True)
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


def _spans(members: Sequence[Member]) -> list[tuple[int, int]]:
    """The first row of each member in the batch, and the one behind its last."""
    ends = list(accumulate(member.rows.count for member in members))
    return list(zip([0, *ends], ends, strict=False))


def _segments(members: Sequence[Member], spans: Sequence[tuple[int, int]]) -> list[Segment]:
    return [
        Segment(begin, end, member.adapter)
        for member, (begin, end) in zip(members, spans, strict=True)
        if member.adapter is not None
    ]
