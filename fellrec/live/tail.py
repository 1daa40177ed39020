"""An event log that grows: each look gives what has been written since the last."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

LARGEST = 64 << 20
"""Bytes that one look reads; what is left comes with the next."""


class Tail:
    """Reads a file of JSON lines as it grows.

    A file that was replaced, or is shorter than it was, begins anew.

    Attributes
    ----------
    generation : how often it began anew. damaged : lines that are no JSON.
    """

    def __init__(self) -> None:
        self.generation, self.damaged = 0, 0
        self._path: Path | None = None
        self._inode, self._offset, self._rest = 0, 0, b""

    def look(self, path: Path | None) -> list[Any]:
        """The events that were completed since the last look; ``path`` may be another file than before, or not there yet.

        ``generation`` has grown where they are the first ones of another file.
        """
        try:
            file = path.open("rb") if path is not None else None
        except OSError:
            file = None
        if file is None:
            return []
        with file:
            stat = os.fstat(file.fileno())
            if (path, stat.st_ino) != (self._path, self._inode) or stat.st_size < self._offset:
                self._path, self._inode, self._offset, self._rest, self.damaged = path, stat.st_ino, 0, b"", 0
                self.generation += 1
            file.seek(self._offset)
            read = file.read(LARGEST)
        self._offset += len(read)
        *lines, self._rest = (self._rest + read).split(b"\n")
        return [event for line in lines if (event := self._event(line)) is not None]

    def _event(self, line: bytes) -> Any:
        try:
            return json.loads(line)
        except (ValueError, RecursionError):
            self.damaged += 1
            return None
