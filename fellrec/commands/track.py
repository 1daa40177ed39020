"""``fellrec track``: a run's curves into a tracker."""

from __future__ import annotations

from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from common.config import flatten
from common.errors import RunError
from common.run_folder import RunFolder
from fellrec.commands.arguments import Run
from fellrec.terminal import Terminal
from fellrec.trackers import TRACKERS
from fellrec.tracking import followed_log, track, whole_log

console = Terminal()
Name = StrEnum("Name", {name: name for name in TRACKERS})  # type: ignore[misc]  # its members are those of the table


def track_command(
    to: Annotated[Name, typer.Option(help="The tracker; each is an extra: pip install 'fellrec[tensorboard]'.")],
    run: Run = "latest",
    out: Annotated[
        Path | None, typer.Option("--dir", help="Where the tracker's files lie; '' is the run's folder/trackers.")
    ] = None,
    follow: Annotated[bool, typer.Option(help="Go on until the run has ended.")] = False,
) -> None:
    """Write a run's curves from its event log into TensorBoard, MLflow or Weights & Biases, during the run or after it.

    Example: fellrec track latest --to tensorboard --dir curves
    """
    folder = RunFolder.find(run)
    if not follow and not folder.events_path.is_file():
        raise RunError(f"run {folder.name!r} has no event log", "wait for it to start, or give --follow")
    settings = dict(flatten(folder.config()))
    place = out or folder.path / "trackers" / to.value
    with closing(TRACKERS[to.value](place, folder.name)) as tracker:
        events = followed_log(folder.events_path) if follow else whole_log(folder.events_path)
        count = track(events, settings, tracker)
    console.print(f"{count} points in {place}", markup=False)
