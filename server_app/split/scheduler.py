"""Whose turn it is: which requests share the next pass. Used by one thread, reads no clock.

Fairness is by counters of served tokens per client (VTC, Sheng et al., arXiv 2401.00588): the client served least comes
first. Among clients that are level, to within the largest request queued, steps come before decodes, then inference and
prefills, then backwards, then forwards. A client's own requests keep their order.
"""

from __future__ import annotations

from collections import Counter

from common.pb import split_pb2 as pb
from server_app.split.work import Work

ORDER = {
    pb.OP_STEP: 0, pb.OP_DECODE: 1, pb.OP_PREFILL: 2, pb.OP_INFER: 2, pb.OP_BACKWARD: 3, pb.OP_FORWARD: 4
}  # fmt: skip
ALONE = (pb.OP_STEP, pb.OP_PREFILL, pb.OP_DECODE)
"""Share no pass."""

AWAY_AFTER = 32
"""Passes without a request after which a client counts as away."""

COST = {
    pb.OP_STEP: 0, pb.OP_INFER: 1, pb.OP_BACKWARD: 2, pb.OP_FORWARD: 1, pb.OP_PREFILL: 1, pb.OP_DECODE: 1
}  # fmt: skip


class Scheduler:
    """The queue.

    Parameters
    ----------
    clients : in one batch at most. cells : of a batch of several, padding included.
    seconds : that a request may wait for others to share its pass.
    """

    def __init__(self, clients: int, cells: int, seconds: float) -> None:
        self._clients, self._cells, self._seconds = clients, cells, seconds
        self._queued: list[Work] = []
        self._served: Counter[str] = Counter()
        self._seen: dict[str, int] = {}
        self._passes = 0

    def __len__(self) -> int:
        return len(self._queued)

    def add(self, work: Work) -> None:
        """Queues a request. A client that was away starts level with the least served of those that were not.

        Who merely waits for a reply is not away: lifting it would level it with a greedy client that alone is queued.
        """
        present = [client for client, seen in self._seen.items() if self._passes - seen <= AWAY_AFTER]
        if present and work.client not in present:
            self._served[work.client] = max(self._served[work.client], min(self._served[c] for c in present))
        self._seen[work.client] = self._passes
        self._queued.append(work)

    def drop(self, now: float) -> list[Work]:
        """Takes out what nobody waits for any more, or has waited too long."""
        dropped = [work for work in self._queued if work.caller.gone or work.expires <= now]
        self._queued = [work for work in self._queued if work not in dropped]
        return dropped

    def next(self, now: float, active: int) -> list[Work] | float | None:
        """The next batch, of one kind and at most one request per client; or when to ask again; or None: nothing waits.

        Parameters
        ----------
        active : clients that might still send something to share a pass with.
        """
        wake: float | None = None
        for head in sorted(self._eligible(), key=lambda work: (ORDER[work.request.op], self._served[work.client])):
            batch = self._batch(head)
            patience = self._patience(head, len(batch), active)
            if now >= head.arrived + patience:
                self._take(batch)
                return batch
            wake = min(wake or head.arrived + patience, head.arrived + patience)
        return wake

    def _eligible(self) -> list[Work]:
        """Each client's oldest request, of the clients that were served least."""
        if not self._queued:
            return []
        slack = max(_cost(work) for work in self._queued)
        least = min(self._served[work.client] for work in self._queued)
        return [work for work in self._oldest() if self._served[work.client] <= least + slack]

    def _oldest(self) -> list[Work]:
        first: dict[str, Work] = {}
        for work in self._queued:
            first.setdefault(work.client, work)
        return list(first.values())

    def _batch(self, head: Work) -> list[Work]:
        if head.request.op in ALONE:
            return [head]
        if _holds_graph(head) and len(mates := self._mates(head)) == len(head.graph.micros):
            return mates
        batch, rows, width = [], 0, 0
        # company is of those whose turn it may be as well: else large requests would be served with every small one
        for work in (head, *sorted(self._eligible(), key=lambda work: self._served[work.client])):
            if work in batch or work.request.op != head.request.op:
                continue
            if _holds_graph(work) and work.graph is not head.graph:
                continue
            rows, width = rows + work.rows.count, max(width, work.rows.width)
            if batch and (len(batch) >= self._clients or rows * width > self._cells):
                break
            batch.append(work)
        return batch

    def _patience(self, head: Work, size: int, active: int) -> float:
        """Seconds that the head of a batch may wait for company."""
        if head.request.op in ALONE or self._clients == 1:
            return 0
        if _holds_graph(head):
            missing = len(self._mates(head)) < len(head.graph.micros)
            # waiting no longer than the pass took, it costs at most twice what the best choice would have
            return max(self._seconds, head.graph.made.seconds) if missing else 0
        return 0 if size >= min(active, self._clients) else self._seconds

    def _mates(self, head: Work) -> list[Work]:
        """The backwards whose turn it is and that share the graph of ``head``."""
        return [work for work in self._oldest() if work.graph is head.graph]

    def _take(self, batch: list[Work]) -> None:
        self._passes += 1
        for work in batch:
            self._seen[work.client] = self._passes
            self._queued.remove(work)
            self._served[work.client] += _cost(work)


def _cost(work: Work) -> int:
    return COST[work.request.op] * work.cells


def _holds_graph(work: Work) -> bool:
    return work.graph is not None and len(work.graph.micros) > 0
