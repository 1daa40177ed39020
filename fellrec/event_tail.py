"""The events of a run as they are written, from now on."""

from __future__ import annotations

import json

from common.errors import RunError
from common.events import Event, parse
from common.home import runs_home


class EventTail:
    """Reads a run's event log as it grows, from its present end.

    Parameters
    ----------
    name : the run's, which need not be there yet. home : '' takes ``$FELLREC_HOME``.
    """

    def __init__(self, name: str, home: str = "") -> None:
        self._path = runs_home(home) / name / "events.jsonl"
        self._rest = b""
        try:
            self._offset = self._path.stat().st_size
        except OSError:
            self._offset = 0

    def look(self) -> list[Event]:
        """The events that were completed since the last look; a line that is none is passed over."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                read = file.read()
        except OSError:
            return []
        self._offset += len(read)
        *lines, self._rest = (self._rest + read).split(b"\n")
        return [event for line in lines if (event := _event(line)) is not None]


def _event(line: bytes) -> Event | None:
    try:
        found = json.loads(line)
        return parse(found) if isinstance(found, dict) else None
    except (ValueError, RecursionError, RunError):
        return None
