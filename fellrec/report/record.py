"""What a run left behind, as far as it is there: configuration, history, result."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.files import read_json
from common.run_folder import RunFolder
from fellrec.report.history import History

Tree = Mapping[str, Any]


@dataclass(frozen=True)
class Record:
    """A run to report on.

    Parameters
    ----------
    config : the flat settings as they were written, also those that this release does not know.
    result : ``result.json``, or None where the run has not ended or failed.
    damaged : lines of the log that are no JSON.
    """

    name: str
    config: Tree
    history: History
    result: Tree | None = None
    damaged: int = 0

    @classmethod
    def read(cls, folder: RunFolder) -> Record:
        """Reads a run's folder, whether it has ended or not.

        Raises
        ------
        RunError : its configuration or result is no JSON object.
        """
        history, damaged = History(), 0
        if folder.events_path.is_file():
            for event in _events(folder.events_path):
                if event is None:
                    damaged += 1
                else:
                    history.add(event)
        result = folder.path / "result.json"
        return cls(
            folder.name,
            read_json(folder.path / "config.json"),
            history,
            read_json(result) if result.is_file() else None,
            damaged,
        )

    def part(self, *path: str) -> Tree:
        """An object inside the result, by its keys; empty where it is not there."""
        found: Any = self.result
        for key in path:
            found = found.get(key) if isinstance(found, Mapping) else None
        return found if isinstance(found, Mapping) else {}


def _events(path: Path) -> Iterator[Any]:
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            if not line.endswith("\n"):
                return
            try:
                yield json.loads(line)
            except (ValueError, RecursionError):
                yield None
