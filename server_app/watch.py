"""What an operator should look at: clients that diverge, that run out of memory, and that hold a round up.

These are the ways in which FELLRec's federation fails in practice (arXiv 2402.09959, section on its limits): each is told
by the client's name, with what to do.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import median

from common.low_rank import Adapter
from server_app.members import Contribution

RISES, RISE = 2, 1.05
"""Rounds in a row, each with a loss so many times the client's best, that are called divergence."""

FAR = 10.0
"""How many times the median client's adapter a client's own may be in norm."""

NEARLY_FULL = 0.9
"""Share of its memory limit at which a client is warned of."""

SLOW, SLOW_SECONDS = 3.0, 30.0
"""How many times the median of the others a client may take, and the seconds that are worth a word."""


@dataclass(frozen=True)
class Notice:
    """One thing to look at: ``kind`` is ``diverging``, ``memory``, ``link`` or ``slow``."""

    client: str
    kind: str
    reason: str
    hint: str


class Watch:
    """Looks at each round's reports; remembers the losses."""

    def __init__(self) -> None:
        self._best: dict[str, float] = {}
        self._rises: defaultdict[str, int] = defaultdict(int)

    def look(
        self, reports: Mapping[str, Contribution], elapsed: Mapping[str, float], alone: Mapping[str, bool]
    ) -> list[Notice]:
        """The warnings of a round.

        Parameters
        ----------
        reports : Mapping[str, Contribution]
            What each client contributed.
        elapsed : Mapping[str, float]
            Seconds from the message to each client's reply.
        alone : Mapping[str, bool]
            Whether a client has its node for itself; where several share one, they wait for each other and nothing can be
            said of their speed.
        """
        return [
            *self._diverging(reports),
            *_far(reports),
            *_nearly_full(reports),
            *_slow(reports, {client: elapsed[client] for client in reports if alone.get(client) and client in elapsed}),
        ]

    def _diverging(self, reports: Mapping[str, Contribution]) -> Iterator[Notice]:
        for client, report in reports.items():
            if report.loss is None:
                continue
            best = min(self._best.get(client, report.loss), report.loss)
            self._rises[client] = self._rises[client] + 1 if report.loss > RISE * best else 0
            self._best[client] = best
            if self._rises[client] >= RISES:
                yield Notice(
                    client,
                    "diverging",
                    f"loss {report.loss:.4g} for round {self._rises[client]} above its best {best:.4g}",
                    "lower 'train.learning-rate', or see whether its data changed",
                )


def _far(reports: Mapping[str, Contribution]) -> Iterator[Notice]:
    norms = {client: _norm(report.adapter) for client, report in reports.items()}
    for client, norm in norms.items():
        others = [other for name, other in norms.items() if name != client]
        if others and norm > FAR * median(others):
            yield Notice(
                client,
                "diverging",
                f"its adapter's norm is {norm:.3g}, the others' median {median(others):.3g}",
                "look at its data and its loss; every other client's mix takes from it",
            )


def _nearly_full(reports: Mapping[str, Contribution]) -> Iterator[Notice]:
    for client, report in reports.items():
        peak, limit = report.memory.get("peak", 0.0), report.memory.get("limit", 0.0)
        if limit and peak > NEARLY_FULL * limit:
            yield Notice(
                client,
                "memory",
                f"it needed {peak / 2**20:.0f} MiB of {limit / 2**20:.0f} MiB",
                "lower 'train.batch-size' or raise 'train.micro-batches', or host more layers (smaller 'split.k', 'split.m')",
            )


def _slow(reports: Mapping[str, Contribution], elapsed: Mapping[str, float]) -> Iterator[Notice]:
    for client, seconds in elapsed.items():
        others = [other for name, other in elapsed.items() if name != client]
        if not others or seconds < SLOW_SECONDS or seconds < SLOW * median(others):
            continue
        spent = reports[client].seconds
        waited = seconds - spent.get("evaluate", 0.0) - spent.get("train", 0.0) + spent.get("split", 0.0)
        kind = "link" if waited > seconds / 2 else "slow"
        hint = (
            "see its network; 'split.codec' = 'bf16' or 'int8' halves or quarters what travels"
            if kind == "link"
            else "give it fewer 'train.examples', or a faster machine"
        )
        yield Notice(
            client,
            kind,
            f"it took {seconds:.0f} s, {waited:.0f} s of them waiting for the network or the split service;"
            f" the others' median is {median(others):.0f} s",
            hint,
        )


def _norm(adapter: Adapter) -> float:
    return float(sum(float(tensor.double().square().sum()) for tensor in adapter.values()) ** 0.5)
