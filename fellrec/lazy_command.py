"""A command of which only its name and one line are known until somebody calls it, or asks for its own help."""

from __future__ import annotations

from functools import cached_property
from importlib import import_module
from typing import Any

import click
import typer
from typer.core import TyperCommand


class PlainCommand(TyperCommand):
    """A command whose help is plain text: Typer escapes brackets for rich, also where rich does not print them."""

    def get_help(self, ctx: click.Context) -> str:
        """The help, with brackets as they are."""
        return super().get_help(ctx).replace("\\[", "[")


class LazyCommand(click.Command):
    """A place for a command in its group.

    Parameters
    ----------
    place : ``module:name`` of a function with typer's annotations, or of a ``typer.Typer`` with commands of its own.
    summary : the first line of its help, which the group's help shows.
    """

    def __init__(self, name: str, place: str, summary: str) -> None:
        super().__init__(name, short_help=summary)
        self._place = place

    @cached_property
    def loaded(self) -> click.Command:
        """The command itself; its module is imported here, and nowhere else."""
        module, _, attribute = self._place.partition(":")
        found = getattr(import_module(module), attribute)
        group = typer.Typer(add_completion=False, rich_markup_mode=None, suggest_commands=False)
        if isinstance(found, typer.Typer):
            group.add_typer(found, name=self.name)
        else:
            group.command(self.name, cls=PlainCommand)(found)
        command = typer.main.get_group(group).commands[str(self.name)]
        if isinstance(command, click.Group):
            for inner in command.commands.values():
                inner.short_help = first_line(inner)
        return command

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """The command's own context: from here on click, and completion, see the command itself."""
        return self.loaded.make_context(info_name, args, parent, **extra)


def first_line(command: click.Command) -> str:
    """The first line of a command's help: what the help of its group says of it."""
    return (command.help or "").partition("\n")[0]
