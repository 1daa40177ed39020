"""``fellrec report``: a run as one HTML file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from common.errors import RunError
from common.run_folder import RunFolder
from fellrec.commands.arguments import Run
from fellrec.report.page import report
from fellrec.report.record import Record


def report_command(
    run: Run = "latest",
    out: Annotated[
        Path | None, typer.Option(help="Where to write; without it report.html in the run's folder.")
    ] = None,
) -> None:
    """Write a run as one HTML file: curves, balance, attention, cost, privacy, failures, how to run it again.

    Example: fellrec report latest --out report.html
    """
    folder = RunFolder.find(run)
    path = out or folder.path / "report.html"
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    page = report(Record.read(folder))
    try:
        partial.write_text(page, encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        raise RunError(
            f"the report cannot be written to {str(path)!r}: {error}", "give another file in --out"
        ) from error
    typer.echo(path)
    typer.echo("open it in a browser", err=True)
