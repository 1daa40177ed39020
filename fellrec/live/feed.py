"""What a browser has and what it lacks: the page's parts, event by event."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from typing import Any

from fellrec.live.board import board, drawn
from fellrec.live.place import Place
from fellrec.live.tail import Tail
from fellrec.report.history import History
from fellrec.report.markup import Markup

_POSITION = re.compile(r"([0-9]{1,9})\.([0-9]{1,12})")


KEPT = 4
"""Positions whose parts are kept: most browsers are at one of them."""


@dataclass(frozen=True)
class Position:
    """How far a browser has come: which log, and how many of its events."""

    generation: int = 0
    events: int = 0

    @classmethod
    def read(cls, written: str) -> Position:
        """A position as a browser gives it back; anything else is the very beginning."""
        found = _POSITION.fullmatch(written)
        return cls(int(found[1]), int(found[2])) if found else cls()

    def __str__(self) -> str:
        return f"{self.generation}.{self.events}"


class Feed:
    """One run's events, read once for all browsers. Its methods may be called from several threads."""

    def __init__(self, place: Place) -> None:
        self._place, self._tail, self._lock = place, Tail(), threading.Lock()
        self._events: list[Any] = []
        self._history = History()
        self._drawn: tuple[int, dict[str, Markup]] | None = None
        self._made: dict[Position, dict[str, Markup]] = {}

    def now(self) -> tuple[Position, str, dict[str, Markup]]:
        """Where the log is, the run's name, and every part of the page."""
        with self._lock:
            self._look()
            return self._position(), self._history.run, self._parts()

    def since(self, before: Position) -> tuple[Position, dict[str, Markup]]:
        """Where the log is, and the parts that differ from those at an earlier position; all where that is not known."""
        with self._lock:
            self._look()
            position = self._position()
            if before == position:
                return position, {}
            parts = self._parts()
            if before.generation != position.generation or before.events > position.events:
                return position, parts
            earlier = self._made.get(before) or board(
                History.of_events(self._events[: before.events]), self._tail.damaged
            )
            return position, {name: part for name, part in parts.items() if part != earlier[name]}

    def _look(self) -> None:
        generation = self._tail.generation
        found = self._tail.look(self._place())
        if self._tail.generation != generation:
            self._events, self._history, self._drawn = [], History(), None
        for event in found:
            self._events.append(event)
            self._history.add(event)

    def _position(self) -> Position:
        return Position(self._tail.generation, len(self._events))

    def _parts(self) -> dict[str, Markup]:
        position = self._position()
        if position not in self._made:
            kept = list(self._made.items())[1 - KEPT :]
            if self._drawn is None or self._drawn[0] != self._history.changes:
                self._drawn = self._history.changes, drawn(self._history)
            self._made = {**dict(kept), position: board(self._history, self._tail.damaged, self._drawn[1])}
        return self._made[position]
