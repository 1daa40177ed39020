"""A run's progress as plain lines, as a script or a notebook shows them: one for each event that matters."""

from __future__ import annotations

from collections.abc import Callable

from common.events import Event
from common.printable import printable


class ProgressLines:
    """A listener of a run's events.

    Parameters
    ----------
    write : takes a line; by default it is printed.
    """

    def __init__(self, write: Callable[[str], object] | None = None) -> None:
        self._write = write or (lambda line: print(line, flush=True))
        self._began, self._first, self._quality = 0.0, 1, ""

    def __call__(self, event: Event) -> None:
        tell: Callable[[Event], list[str]] | None = getattr(self, f"_{event['event']}", None)
        for line in tell(event) if tell is not None else ():
            self._write(printable(line))

    def _run_started(self, event: Event) -> list[str]:
        return [f"run {event['run']}: {event['folder']}"]

    def _round_started(self, event: Event) -> list[str]:
        if self._began:
            return []
        self._began, self._first, self._of = event["time"], event["round"], event["of"]
        return [f"{len(event['clients'])} clients train for {event['of']} rounds"]

    def _validated(self, event: Event) -> list[str]:
        name = next((name for name in ("auc", "recall@10") if event.get(name) is not None), None)
        self._quality = f", {name} before it {event[name]:.4f}" if name else ""
        return []

    def _round_ended(self, event: Event) -> list[str]:
        number = event["round"]
        left = (event["time"] - self._began) / (number - self._first + 1) * (self._of - number)
        loss = "loss not told" if event["loss"] is None else f"loss {event['loss']:.4f}"
        told = (
            "void, too few clients answered"
            if event["void"]
            else f"{loss}, {event['clients_ok']} clients{self._quality}"
        )
        return [f"round {number}/{self._of}: {told}{f', about {left:.0f} s left' if left else ''}"]

    def _rejected(self, event: Event) -> list[str]:
        return [f"client {event['client']} is left out of round {event['round']}: {event['reason']}"]

    def _refused(self, event: Event) -> list[str]:
        return [f"node {event['node']} is left out: {event['reason']}"]

    def _warning(self, event: Event) -> list[str]:
        return [f"client {event['client']}, {event['kind']}: {event['reason']} ({event['hint']})"]

    def _away(self, event: Event) -> list[str]:
        return [f"client {event['client']} is away"]

    def _resumed(self, event: Event) -> list[str]:
        return [f"resumed after round {event['round']}"]

    def _stopped_early(self, event: Event) -> list[str]:
        return [f"validation has not got better for {event['patience']} rounds"]

    def _measuring(self, event: Event) -> list[str]:
        return [f"measuring the result on the test users of {len(event['clients'])} clients"]

    def _run_ended(self, event: Event) -> list[str]:
        return list(event["table"])
