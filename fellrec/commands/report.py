"""``fellrec report``: a run as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from common.run_folder import RunFolder
from fellrec.commands.arguments import Run
from fellrec.report_file import write_report


def report_command(
    run: Run = "latest",
    out: Annotated[
        Path | None, typer.Option(help="Where to write; without it report.html in the run's folder.")
    ] = None,
) -> None:
    """Write a run as one HTML file: curves, balance, attention, cost, privacy, failures, how to run it again.

    Example: fellrec report latest --out report.html
    """
    path = write_report(RunFolder.find(run), out)
    typer.echo(path)
    typer.echo("open it in a browser", err=True)
