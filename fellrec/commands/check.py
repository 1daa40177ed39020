"""``fellrec check``: a recipe's settings, without starting anything."""

from __future__ import annotations

import json

import typer
from rich.console import Console

from common.config import flatten
from fellrec.commands.arguments import Json, Override, Recipe
from fellrec.recipes import read_recipe, settings

console = Console(highlight=False, soft_wrap=True)


def check_command(recipe: Recipe, override: Override = None, as_json: Json = False) -> None:
    """Check a recipe without starting anything; prints every setting that it leads to.

    Example: fellrec check demo --set split.k=2
    """
    _, config = settings(read_recipe(recipe), override or [])
    found = dict(flatten(config))
    if as_json:
        typer.echo(json.dumps(found, indent=1, ensure_ascii=False))
        return
    for key, value in found.items():
        console.print(f"{key} = {json.dumps(value)}", markup=False)
