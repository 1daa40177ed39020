"""Arguments and options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Recipe = Annotated[str, typer.Argument(help="A TOML file, or the name of one in recipes/.")]
Override = Annotated[
    list[str] | None, typer.Option("--set", "-s", help="Override a setting: key=value. May be repeated.")
]
Run = Annotated[str, typer.Argument(help="A run's name or folder; 'latest' is the newest.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")]
