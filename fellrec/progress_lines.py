"""A run's progress as plain lines, as a script or a notebook shows them: one for each event that matters."""

from __future__ import annotations

from collections.abc import Callable

from common.events import (
    Away,
    Event,
    Measuring,
    Refused,
    Rejected,
    Resumed,
    RoundEnded,
    RoundStarted,
    RunEnded,
    RunStarted,
    StoppedEarly,
    Validated,
    Warned,
)
from common.printable import printable
from server_app.progress import are as who


class ProgressLines:
    """A listener of a run's events.

    Parameters
    ----------
    write : takes a line; by default it is printed.
    """

    def __init__(self, write: Callable[[str], object] | None = None) -> None:
        self._write = write or (lambda line: print(line, flush=True))
        self._began, self._first, self._of, self._quality = 0.0, 1, 0, ""

    def __call__(self, event: Event) -> None:
        for line in self._lines(event):
            self._write(printable(line))

    def _lines(self, event: Event) -> list[str]:
        match event:
            case RunStarted(run=run, folder=folder):
                return [f"run {run}: {folder}"]
            case RoundStarted() as started if not self._began:
                self._began, self._first, self._of = started.time, started.round, started.of
                return [f"{len(started.clients)} clients train for {started.of} rounds"]
            case Validated(metric=metric, means=means):
                self._quality = f", {metric} before it {means[metric]:.4f}"
            case RoundEnded() as ended:
                return [self._ended(ended)]
            case Rejected(clients=clients, round=number, reason=reason):
                return [f"{who(clients)} left out of round {number}: {reason}"]
            case Refused(node=node, reason=reason):
                return [f"node {node} is left out: {reason}"]
            case Warned(client=client, kind=kind, reason=reason, hint=hint):
                return [f"client {client}, {kind}: {reason} ({hint})"]
            case Away(clients=clients):
                return [f"{who(clients)} away"]
            case Resumed(round=number):
                return [f"resumed after round {number}"]
            case StoppedEarly(patience=patience):
                return [f"validation has not got better for {patience} rounds"]
            case Measuring(clients=clients):
                return [f"measuring the result on the test data of {len(clients)} clients"]
            case RunEnded(table=table):
                return list(table)
        return []

    def _ended(self, event: RoundEnded) -> str:
        number = event.round
        left = (event.time - self._began) / (number - self._first + 1) * (self._of - number)
        loss = "loss not reported" if event.loss is None else f"loss {event.loss:.4f}"
        told = "void, too few clients answered" if event.void else f"{loss}, {event.clients_ok} clients{self._quality}"
        return f"round {number}/{self._of}: {told}{f', about {left:.0f} s left' if left else ''}"
