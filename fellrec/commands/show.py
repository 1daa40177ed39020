"""``fellrec show``: a run's result as a table or as JSON."""

from __future__ import annotations

import json

import typer
from rich.console import Console

from common.run_folder import RunFolder
from common.table import result_table
from fellrec.commands.arguments import Json, Run

console = Console(highlight=False, soft_wrap=True)


def show_command(run: Run = "latest", as_json: Json = False) -> None:
    """Show a run's result: per client, beside the baselines.

    With --json it is result.json.

    Example: fellrec show latest --json
    """
    result = RunFolder.find(run).result()
    if as_json:
        typer.echo(json.dumps(result, indent=1))
        return
    for line in result_table(result):
        console.print(line, markup=False)
