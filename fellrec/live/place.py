"""Where the log of the run to show is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from common.errors import ConfigError
from common.home import runs_home
from common.run_folder import RunFolder

Place = Callable[[], Path | None]
"""Gives the log's file at each look; None while there is none."""


def place(run: str, events: Path | None) -> Place:
    """The log of a run, or a log that was copied from elsewhere.

    ``latest`` is looked up at each look, so that it waits for the first run to start and goes on to the next one.

    Raises
    ------
    RunError : there is no run of this name. ConfigError : there is no file ``events``.
    """
    if events is not None:
        if not events.is_file():
            raise ConfigError(f"--events is {str(events)!r}, which is no file", "give a run's events.jsonl")
        return lambda: events
    if run != "latest":
        path = RunFolder.find(run).events_path
        return lambda: path
    return _latest


def _latest() -> Path | None:
    link = runs_home() / "latest"
    return link.resolve() / "events.jsonl" if link.exists() else None
