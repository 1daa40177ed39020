"""The event log of a run: JSON lines, the one truth that progress, report and trackers read."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from common.errors import RunError
from common.files import on_disk

Event = dict[str, Any]


class EventLog:
    """Appends events to ``events.jsonl`` and tells them to its listeners.

    Every event has ``event`` (its kind), ``time`` (seconds since the epoch) and fields of its own. A field that is not
    finite is written as null: a log must stay readable when a client sends nonsense.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._listeners: list[Callable[[Event], None]] = []
        with on_disk(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists():
                _drop_half_line(path)

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Calls ``listener`` with every later event."""
        self._listeners.append(listener)

    def write(self, event: str, **fields: Any) -> None:
        """Appends one event; the line is on its way to the disk when this returns.

        Raises
        ------
        RunError : it cannot be written; the listeners are told all the same.
        """
        line: Event = {"event": event, "time": round(self._clock(), 3), **fields}
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(_finite(line), ensure_ascii=False) + "\n")
        except OSError as error:
            raise RunError(
                f"the event log {str(self._path)!r} cannot be written: {error}",
                "make room there, then set resume = true to go on after the last whole round",
            ) from error
        finally:
            for listener in self._listeners:
                listener(line)


def read_events(path: Path) -> Iterator[Event]:
    """The events of a log in order; a last line that is still being written is left out.

    Raises
    ------
    RunError : a line is no event, or the file cannot be read.
    """
    with on_disk(path), path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith("\n"):
                return
            try:
                event = json.loads(line)
            except (ValueError, RecursionError):
                event = None
            if not isinstance(event, dict):
                raise RunError(f"the event log {str(path)!r} is damaged in line {number}", "take that line out")
            yield event


def _drop_half_line(path: Path) -> None:
    """Takes off what a process that died left of its last line, so that the next one begins on its own."""
    with path.open("rb+") as file:
        content = file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            file.truncate(whole)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
