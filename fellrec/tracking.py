"""A run's event log as curves, for whichever tracker reads them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from common.events import ENDED, Event, Resumed, RoundEnded, Validated, read_events

MOST_SERIES = 100
"""Clients up to which each has curves of its own."""

POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Point:
    """Values by name, measured in one round. time : seconds since the epoch."""

    round: int
    time: float
    values: Mapping[str, float]


class Tracker(Protocol):
    """What a run's curves are written to."""

    def settings(self, values: Mapping[str, Any]) -> None:
        """The run's configuration, once, before the points."""

    def point(self, point: Point) -> None:
        """One more point; rounds never go back."""

    def close(self) -> None:
        """Everything is written when this returns."""


def track(events: Iterable[Event], settings: Mapping[str, Any], tracker: Tracker) -> int:
    """Writes all points of a log; returns how many.

    A run that was resumed may have measured a round twice. What it measured last counts, where both are known already.
    """
    tracker.settings(settings)
    count, last = 0, 0
    for found in points(events):
        if found.round < last:
            continue
        tracker.point(found)
        count, last = count + 1, found.round
    return count


def points(events: Iterable[Event]) -> Iterator[Point]:
    """The numbers of each event that tells how a round went.

    ``round_ended`` gives ``round/...`` (loss, seconds, and of each client's mixing weights its own), ``validated`` gives
    ``validation/...``. What is no number, or not finite, is left out.
    """
    for event in events:
        match event:
            case RoundEnded() as ended:
                few = len(ended.clients) <= MOST_SERIES
                values = {
                    "loss": ended.loss,
                    "seconds": ended.seconds,
                    "clients_ok": ended.clients_ok,
                    "clients_failed": len(ended.clients_failed),
                    "clients": ended.clients if few else {},
                    "own_weight": {client: row.get(client) for client, row in ended.weights.items()} if few else {},
                }
                yield Point(ended.round, ended.time, dict(_numbers("round", values)))
            case Validated() as found:
                few = len(found.clients) <= MOST_SERIES
                values = {**found.means, "balance": found.balance, "clients": found.clients if few else {}}
                yield Point(found.round, found.time, dict(_numbers("validation", values)))


def whole_log(path: Path) -> list[Event]:
    """The events so far, without rounds that a resumed run went through once more."""
    kept: list[Event] = []
    for event in read_events(path):
        if isinstance(event, Resumed):
            kept = [one for one in kept if getattr(one, "round", 0) <= event.round]
        kept.append(event)
    return kept


def followed_log(path: Path, wait: Callable[[float], None] = time.sleep) -> Iterator[Event]:
    """The events as they are written, until the run ends."""
    told = 0
    while True:
        events = list(read_events(path)) if path.is_file() else []
        yield from events[told:]
        told = len(events)
        if events and isinstance(events[-1], ENDED):
            return
        wait(POLL_SECONDS)


def _numbers(name: str, value: Any) -> Iterator[tuple[str, float]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _numbers(f"{name}/{key}", inner)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield name, float(value)
