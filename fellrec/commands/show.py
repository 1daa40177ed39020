"""``fellrec show``: a run's result as a table or as JSON."""

from __future__ import annotations

import json

import typer

from common.errors import RunError
from common.run_folder import RunFolder
from common.table import result_table
from fellrec.commands.arguments import Json, Run
from fellrec.terminal import Terminal

console = Terminal()


def show_command(run: Run = "latest", as_json: Json = False) -> None:
    """Show a run's result: per client, beside the baselines.

    With --json it is result.json.

    Example: fellrec show latest --json
    """
    folder = RunFolder.find(run)
    result = folder.result()
    if as_json:
        typer.echo(json.dumps(result, indent=1))
        return
    try:
        lines = result_table(result)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise RunError(
            f"the result of run {folder.name!r} cannot be shown: {type(error).__name__}: {error}",
            "restore its result.json, or see what is in it with --json",
        ) from error
    for line in lines:
        console.print(line, markup=False)
