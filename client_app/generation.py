"""The hosted layers for a batch of sequences that grow: the service keeps their keys and values.

What the service holds goes with the connection, and is of no more use once its adapter has changed. Then everything
sent so far is sent again, as one prefill; the client's cache has kept it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from client_app.link import SplitLink
from client_app.stream import Answer, Stream
from common.cut.history import History
from common.cut.hosted_cache import Change
from common.errors import SplitError
from common.pb import split_pb2 as pb
from common.wire import Rows


class RemoteSequence:
    """A :class:`~common.cut.hosted_cache.Sequence` on the service. When it is given up, the service's next request
    says so.

    Parameters
    ----------
    link : SplitLink
        The link to the service.
    bare : callable
        Tells at each call whether the base model alone is meant.
    """

    def __init__(self, link: SplitLink, bare: Callable[[], bool]) -> None:
        self._link, self._bare = link, bare
        # the connection, the sequence's id there, and whether it is of the base model; None while that is not certain
        self._held: tuple[Stream, int, bool | None] | None = None

    def __del__(self) -> None:
        if self._held is not None:
            stream, identity, _ = self._held
            stream.end_sequence(identity)

    def __call__(
        self, hidden: Tensor, mask: Tensor | None, positions: Tensor | None, change: Change, history: History
    ) -> Tensor:
        """See :class:`~common.cut.hosted_cache.Sequence`.

        Raises
        ------
        SplitError : refused, or out of reach; a row has padding between its tokens, or no token among those that come;
            or gradients would be cut off here.
        """
        if torch.is_grad_enabled() and hidden.requires_grad:
            raise SplitError("a cache carries no gradients to the hosted layers", "call with use_cache=False")
        bare, after = self._bare(), hidden

        def send(stream: Stream) -> Answer:
            nonlocal after
            held = self._held
            identity = held[1] if held is not None and held[0] is stream else stream.begin_sequence()
            self._held = stream, identity, None
            rows: Rows
            found: Answer | None = None
            if change.past and held == (stream, identity, bare):
                rows, asked = _decode(identity, hidden, mask, positions, change)
                request = pb.Request(op=pb.OP_DECODE, rows=rows.message(), sequence=asked, bare=bare)
                found = self._link.ask_tokens(stream, request, rows, hidden, change.past)
            if found is None or found[0].status == pb.STATUS_FAILED_PRECONDITION:
                whole, all_positions = _everything(hidden, positions, history)
                rows, asked = Rows.of(whole, mask, all_positions), pb.Sequence(id=identity)
                request = pb.Request(op=pb.OP_PREFILL, rows=rows.message(), sequence=asked, bare=bare)
                found = self._link.ask_tokens(stream, request, rows, whole)
            if found[1] is not None:
                after, self._held = rows.unpack(found[1])[:, -hidden.shape[1] :], (stream, identity, bare)
            return found

        self._link.ask(send)
        return after.to(hidden.device, hidden.dtype)


def _decode(
    identity: int, hidden: Tensor, mask: Tensor | None, positions: Tensor | None, change: Change
) -> tuple[Rows, pb.Sequence]:
    """The columns that come, and how they go on from those before."""
    order = () if change.order is None else change.order.tolist()
    asked = pb.Sequence(id=identity, past=change.past, dropped=change.dropped, order=order)
    if mask is None:
        return Rows.of(hidden, None, positions), asked
    # of all columns, for a row's tokens must be one run
    every = Rows.of(mask.unsqueeze(-1), mask, None)
    asked.starts.extend(min(start, change.past) for start in every.starts)
    return Rows.of(hidden, mask[:, change.past :], positions), asked


def _everything(hidden: Tensor, positions: Tensor | None, history: History) -> tuple[Tensor, Tensor | None]:
    if not history.columns:
        return hidden, positions
    everything = history.copy()
    everything.append(hidden, positions)
    return everything.whole()
