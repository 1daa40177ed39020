"""Whose turn it is: which requests share the next pass. Used by one thread, reads no clock.

Fairness is by counters of what was computed for each owner (VTC, Sheng et al., arXiv 2401.00588): the one served least
comes first. Among owners that are level, to within the largest request queued, steps come before decodes, then
inference and prefills, then backwards, then forwards. An owner's own requests keep their order.

A pass cannot be interrupted, so a long one delays whoever asks meanwhile, however fair the counters are, and the queue
often holds it alone, while the others think. So after a request that is long beside the others' an owner's next long
one rests while others are at work: the longer it is beside theirs, the longer, until the owner's long ones took no more
than ``long_share`` of the time.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from common.pb import split_pb2 as pb
from server_app.split.cost import FACTORS
from server_app.split.micro import HeldGraph
from server_app.split.work import Work

ORDER = {pb.OP_STEP: 0, pb.OP_DECODE: 1, pb.OP_PREFILL: 2, pb.OP_INFER: 2, pb.OP_BACKWARD: 3, pb.OP_FORWARD: 4}
ALONE = (pb.OP_STEP, pb.OP_PREFILL, pb.OP_DECODE)
"""Share no pass."""

BACKWARD = FACTORS[pb.OP_BACKWARD]

AWAY_AFTER = 32
"""Passes without a request after which an owner counts as away."""

LONG = 2
"""Times the mean of the others' requests that make one long. It rests for half as many times what it took: one that
comes again at once would meet each request of a training step."""

RECENT = 0.1
"""Weight of the newest request in an owner's mean."""


@dataclass
class _Rest:
    """Until when an owner's long requests wait, and since when, on the clock of its callers."""

    since: float
    until: float


class Scheduler:
    """The queue.

    Parameters
    ----------
    clients : in one batch at most. cells : of a batch of several, padding included.
    seconds : that a request may wait for others to share its pass.
    long_share : of the time, that the long requests of one owner may take while others are at work.
    """

    def __init__(self, clients: int, cells: int, seconds: float, long_share: float = 1.0) -> None:
        self._clients, self._cells, self._seconds = clients, cells, seconds
        self._long_share = long_share
        self._queued: list[Work] = []
        self._served: Counter[str] = Counter()
        self._seen: dict[str, int] = {}
        self._heard: dict[str, float] = {}
        self._means: dict[str, float] = {}
        self._rests: dict[str, _Rest] = {}
        self._passes = 0

    def __len__(self) -> int:
        return len(self._queued)

    def add(self, work: Work) -> None:
        """Queues a request. An owner that was away starts level with the least served of those that were not.

        Who merely waits for a reply is not away: lifting it would level it with a greedy one that alone is queued.
        """
        owner = work.owner
        present = [other for other, seen in self._seen.items() if self._passes - seen <= AWAY_AFTER]
        if present and owner not in present:
            self._served[owner] = max(self._served[owner], min(self._served[other] for other in present))
        self._seen[owner] = self._passes
        self._heard[owner] = work.arrived
        self._queued.append(work)

    def drop(self, now: float) -> list[Work]:
        """Takes out what nobody waits for any more, or has waited too long."""
        dropped = [work for work in self._queued if work.caller.gone or work.expires <= now]
        self._queued = [work for work in self._queued if work not in dropped]
        return dropped

    def next(self, now: float, active: int) -> list[Work] | float | None:
        """The next batch, of one kind and at most one request per owner; or when to ask again; or None: nothing waits.

        Parameters
        ----------
        active : clients that might still send something to share a pass with.
        """
        ready, wakes = self._eligible(now)
        for head in sorted(ready, key=lambda work: (ORDER[work.request.op], self._served[work.owner])):
            batch = self._batch(head, ready)
            patience = self._patience(head, len(batch), active)
            if now >= head.arrived + patience:
                self._take(batch)
                return batch
            wakes.append(head.arrived + patience)
        return min(wakes, default=None)

    def ran(self, batch: list[Work], begun: float, ended: float) -> None:
        """A batch that :meth:`next` gave was computed from ``begun`` to ``ended``: who had long requests in it, rests."""
        for work in batch:
            if (times := self._times(work)) > LONG:
                rest = (ended - begun) * min(times / LONG, 1 / self._long_share - 1)
                self._rests[work.owner] = _Rest(begun, ended + rest)
        for work in batch:
            self._heard[work.owner] = ended
            if work.charge:
                before = self._means.get(work.owner, work.cost)
                self._means[work.owner] = before + RECENT * (work.cost - before)

    def _times(self, work: Work) -> float:
        """A request's cost over the mean of the others'; 0 where there are none."""
        others = [mean for owner, mean in self._means.items() if owner != work.owner]
        return work.cost * len(others) / sum(others) if others else 0.0

    def _rests_until(self, work: Work, now: float) -> float | None:
        """When a long request may run; None where it may now, also because everybody else has gone silent."""
        rest = self._rests.get(work.owner)
        if rest is None or now >= rest.until or self._times(work) <= LONG:
            return None
        others = any(heard > rest.since for owner, heard in self._heard.items() if owner != work.owner)
        return rest.until if others else None

    def _eligible(self, now: float) -> tuple[list[Work], list[float]]:
        """Each owner's oldest request, of the owners that were served least; and when those that rest may go on."""
        first, wakes = [], []
        for work in self._oldest():
            until = self._rests_until(work, now)
            if until is None:
                first.append(work)
            else:
                wakes.append(until)
        if not first:
            return [], wakes
        # a forward counts as the backward that it will bring, so that a whole step is level with another
        slack = max(BACKWARD * work.charge + work.overhead for work in first)
        least = min(self._served[work.owner] for work in first)
        return [work for work in first if self._served[work.owner] <= least + slack], wakes

    def _oldest(self) -> list[Work]:
        first: dict[str, Work] = {}
        for work in self._queued:
            first.setdefault(work.owner, work)
        return list(first.values())

    def _batch(self, head: Work, ready: list[Work]) -> list[Work]:
        if head.request.op in ALONE:
            return [head]
        graph = _graph(head)
        if graph is not None and len(mates := self._mates(head)) == len(graph.micros):
            return mates
        batch: list[Work] = []
        rows = width = 0
        # company is of those whose turn it may be as well: else large requests would be served with every small one
        for work in (head, *sorted(ready, key=lambda work: self._served[work.owner])):
            if work in batch or work.request.op != head.request.op:
                continue
            if _graph(work) is not None and work.graph is not head.graph:
                continue
            rows, width = rows + work.layout.count, max(width, work.layout.width)
            if batch and (len(batch) >= self._clients or rows * width > self._cells):
                break
            batch.append(work)
        return batch

    def _patience(self, head: Work, size: int, active: int) -> float:
        """Seconds that the head of a batch may wait for company."""
        if head.request.op in ALONE or self._clients == 1:
            return 0
        if (graph := _graph(head)) is not None:
            missing = len(self._mates(head)) < len(graph.micros)
            # waiting no longer than the pass took, it costs at most twice what the best choice would have
            return max(self._seconds, graph.made.seconds) if missing else 0
        return 0 if size >= min(active, self._clients) else self._seconds

    def _mates(self, head: Work) -> list[Work]:
        """The backwards whose turn it is and that share the graph of ``head``."""
        return [work for work in self._oldest() if work.graph is head.graph]

    def _take(self, batch: list[Work]) -> None:
        self._passes += 1
        for work in batch:
            self._seen[work.owner] = self._passes
            self._queued.remove(work)
            self._served[work.owner] += work.cost


def _graph(work: Work) -> HeldGraph | None:
    """The graph that a backward may use, while it is held."""
    return work.graph if work.graph is not None and len(work.graph.micros) > 0 else None
