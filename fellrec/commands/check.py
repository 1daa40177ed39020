"""``fellrec check``: a recipe's settings, without starting anything."""

from __future__ import annotations

import json

import typer

from common.config import flatten
from common.printable import printable_json
from fellrec.commands.arguments import Json, Override, Recipe
from fellrec.recipes import read_recipe, settings
from fellrec.terminal import Terminal

console = Terminal()


def check_command(recipe: Recipe, override: Override = None, as_json: Json = False) -> None:
    """Check a recipe without starting anything; prints every setting that it leads to.

    Example: fellrec check demo --set split.k=2
    """
    _, config = settings(read_recipe(recipe), override or [])
    found = dict(flatten(config))
    if as_json:
        typer.echo(printable_json(found))
        return
    for key, value in found.items():
        console.print(f"{key} = {json.dumps(value)}", markup=False)
