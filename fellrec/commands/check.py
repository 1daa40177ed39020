"""``fellrec check``: a recipe's settings, without starting anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from common.config import flatten
from common.home import HOME_PREFIX, models_home
from common.printable import printable_json
from fellrec.commands.arguments import Json, Override, Recipe
from fellrec.deferred import Deferred
from fellrec.recipes import read_recipe, settings
from fellrec.terminal import Terminal

if TYPE_CHECKING:
    from common.recommenders import build
    from server_app import strategies
else:
    build = Deferred("common.recommenders.build")
    strategies = Deferred("server_app.strategies")

console = Terminal()


def check_command(recipe: Recipe, override: Override = None, as_json: Json = False) -> None:
    """Check a recipe without starting anything; prints every setting that it leads to.

    A model that is a folder of this machine is looked at too: its configuration and tokenizer, not its weights.

    Example: fellrec check demo --set split.k=2
    """
    _, config = settings(read_recipe(recipe), override or [])
    if config.model.recommender != "click" and _is_here(config.model.name):
        build.check(config)
    if config.strategy.options:
        strategies.rule_of(config)
    found = dict(flatten(config))
    if as_json:
        typer.echo(printable_json(found))
        return
    for key, value in found.items():
        console.print(f"{key} = {json.dumps(value)}", markup=False)


def _is_here(model: str) -> bool:
    """Whether a model is named as a folder and lies on this machine; that of real nodes may lie on theirs only."""
    if model.startswith(HOME_PREFIX):
        return (models_home() / model.removeprefix(HOME_PREFIX)).is_dir()
    return model.startswith(("/", "~")) and Path(model).expanduser().is_dir()
