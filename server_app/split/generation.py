"""Batches of sequences that clients generate: their keys and values, kept from one call to the next.

Each belongs to one session and goes with it. Used by the compute thread only. Requests run one by one: rows of several
clients have pasts of different lengths, and another width of the keys would round differently. ::

    request                  what the service holds of the sequence       what happens
    -----------------------  -------------------------------------------  ------------------------------------------
    PREFILL (n)              nothing, or a request before n               run; takes the place of what was held
    DECODE  (n)              as many columns and rows as the request says  run; the columns are appended
    DECODE  (n)              other columns, rows or another adapter       FAILED_PRECONDITION: the client prefills
    any     (n)              the request n was the last                   the reply again, or FAILED_PRECONDITION
    any     (n)              a request after n                            FAILED_PRECONDITION (it is a late copy)
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor
from transformers import DynamicCache

from common.pb import split_pb2 as pb
from common.wire import Refused, Rows
from server_app.split.adapter import HostedAdapter
from server_app.split.answer import Answer
from server_app.split.lora import HostedTrunk, Segment
from server_app.split.memory import Held, HeldMemory, Kind
from server_app.split.work import Work


class Caching(Protocol):
    """Hosted layers that keep keys and values; see :class:`~common.cut.trunk.ServerTrunk`."""

    def new_cache(self) -> DynamicCache:
        """An empty one."""

    def cache_bytes(self, rows: int, columns: int) -> int:
        """Memory that one takes at most while it grows to this size."""


@dataclass(frozen=True)
class Standing:
    """What a pass runs with: an adapter (None: the base model alone), its version and its steps in the open round."""

    adapter: HostedAdapter | None = None
    version: int = 0
    step: int = 0


@dataclass(eq=False)
class Sequence:
    """One batch of rows.

    Attributes
    ----------
    number : of the request that was run last. answer : its answer, where there was room to keep it.
    shares : of the memory that the cache takes, and the answer.
    """

    cache: DynamicCache
    standing: Standing
    share: Held
    rows: int = 0
    columns: int = 0
    number: int = 0
    answer: Answer | None = None
    answer_share: Held | None = None

    def remember(self, number: int, answer: Answer, share: Held | None) -> None:
        """Takes the place of the answer before."""
        self.forget_answer()
        self.number = number
        if share is not None:
            self.answer, self.answer_share = answer, share

    def forget_answer(self) -> None:
        """Gives back the answer's memory."""
        if self.answer_share is not None:
            self.answer_share.release()
        self.answer = self.answer_share = None

    def release(self) -> None:
        """Gives back all memory."""
        self.forget_answer()
        self.share.release()


class Sequences:
    """The sequences of all sessions.

    Parameters
    ----------
    most : sequences of one session; beyond it, the one used longest ago gives way.
    """

    def __init__(self, trunk: HostedTrunk, memory: HeldMemory, most: int) -> None:
        self._trunk, self._memory, self._most = trunk, memory, most
        # only asked of a trunk that generates
        self._caches = cast(Caching, trunk.module)
        self._held: dict[Hashable, OrderedDict[int, Sequence]] = {}

    def run(self, work: Work, standing: Standing) -> Answer:
        """Runs a prefill or a decode.

        Raises
        ------
        Refused : as the module says; RESOURCE_EXHAUSTED, keys and values would take more memory than is allowed;
            INVALID_ARGUMENT, the hosted model does not generate.
        """
        if not self._trunk.generates:
            raise Refused("the hosted model does not generate", "host a causal language model")
        request = work.request
        own = self._held.setdefault(work.caller, OrderedDict())
        known = own.get(request.sequence.id)
        if known is not None and request.number <= known.number:
            if request.number == known.number and known.answer is not None:
                return known.answer
            raise Refused(f"request {request.number!r} is overtaken", "", "FAILED_PRECONDITION")
        known = self._begin(work, standing) if request.op == pb.OP_PREFILL else self._checked(work, known, standing)
        own.move_to_end(request.sequence.id)
        tensor = self._extend(work, known)
        answer, share = Answer(tensor), self._memory.offer(work.owner, Kind.REPLY, tensor.nbytes)
        known.remember(request.number, answer, share)
        return answer

    def end(self, session: Hashable, ids: Iterable[int]) -> None:
        """Gives up sequences of a session; those that it does not have are none of its business."""
        for identity in ids:
            self._drop(session, identity)

    def leave(self, session: Hashable) -> None:
        """A session has ended."""
        for sequence in self._held.pop(session, {}).values():
            sequence.release()

    def _begin(self, work: Work, standing: Standing) -> Sequence:
        identity, own = work.request.sequence.id, self._held[work.caller]
        self._drop(work.caller, identity)
        while len(own) >= self._most:
            own.popitem(last=False)[1].release()
        share = self._memory.take(work.owner, Kind.CACHE, 0)
        own[identity] = Sequence(self._caches.new_cache(), standing, share)
        return own[identity]

    def _checked(self, work: Work, known: Sequence | None, standing: Standing) -> Sequence:
        asked, hint = work.request.sequence, "prefill again"
        if known is None:
            raise Refused(f"no keys are held of sequence {asked.id!r}", hint, "FAILED_PRECONDITION")
        if known.standing != standing:
            self._drop(work.caller, asked.id)
            raise Refused(f"the adapter of sequence {asked.id!r} has changed", hint, "FAILED_PRECONDITION")
        if asked.past + asked.dropped != known.columns:
            raise Refused(
                f"past is {asked.past!r} with {asked.dropped!r} dropped, {known.columns!r} columns are held",
                hint,
                "FAILED_PRECONDITION",
            )
        if not asked.order and work.layout.count != known.rows:
            raise Refused(f"{work.layout.count!r} rows follow {known.rows!r}", hint, "FAILED_PRECONDITION")
        if asked.order and max(asked.order) >= known.rows:
            raise Refused(f"order names row {max(asked.order)!r} of {known.rows!r}", hint, "FAILED_PRECONDITION")
        return known

    def _extend(self, work: Work, known: Sequence) -> Tensor:
        asked, rows, trunk = work.request.sequence, work.layout, self._trunk
        columns = asked.past + rows.width
        try:
            need = self._caches.cache_bytes(max(rows.count, known.rows), max(columns, known.columns))
            more = self._memory.take(work.owner, Kind.CACHE, max(0, need - known.share.nbytes))
        except Refused:
            if not known.columns:
                self._drop(work.caller, asked.id)
            raise
        try:
            _move(known.cache, asked)
            mask, positions = _mask(rows, asked), rows.position_ids()
            segments = [] if known.standing.adapter is None else [Segment(0, rows.count, known.standing.adapter)]
            with torch.no_grad():
                output = trunk(segments, rows.unpack(work.tensors[0].to(trunk.device)), mask, positions, known.cache)
        except BaseException:
            # half of the layers may have taken the columns
            self._drop(work.caller, asked.id)
            raise
        finally:
            more.release()
        known.rows, known.columns = rows.count, columns
        known.share.resize(_nbytes(known.cache))
        return rows.pack(output).cpu()

    def _drop(self, session: Hashable, identity: int) -> None:
        own = self._held.get(session)
        if own is not None and identity in own:
            own.pop(identity).release()


def _move(cache: DynamicCache, asked: pb.Sequence) -> None:
    """What became of the held columns since: the last may be dropped, the rows moved."""
    if asked.dropped:
        try:
            cache.crop(-asked.dropped)
        except RuntimeError as error:
            # a sliding window has lost what lies before the dropped columns
            raise Refused("these columns cannot be dropped", "prefill again", "FAILED_PRECONDITION") from error
    if asked.order:
        cache.reorder_cache(torch.tensor(asked.order))  # type: ignore[arg-type]  # torch makes no LongTensor


def _mask(rows: Rows, asked: pb.Sequence) -> Tensor | None:
    """int64 [B, past + T], of the held columns and those that came."""
    if not asked.past or not rows.masked:
        return rows.attention_mask()
    starts = [
        begin if begin < asked.past else asked.past + start
        for begin, start in zip(asked.starts, rows.starts, strict=True)
    ]
    ends = [asked.past + start + length for start, length in zip(rows.starts, rows.lengths, strict=True)]
    lengths = tuple(end - start for start, end in zip(starts, ends, strict=True))
    return Rows(asked.past + rows.width, tuple(starts), lengths, masked=True).attention_mask()


def _nbytes(cache: DynamicCache) -> int:
    """Memory that the keys and values take; a sliding window may be a view of more than it shows."""
    found = [getattr(layer, name) for layer in cache.layers for name in ("keys", "values")]
    tensors: list[Tensor] = [tensor for tensor in found if tensor is not None]
    return sum({tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}.values())
