"""What the commands print: text from outside is harmless on every terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from common.printable import printable


class Terminal(Console):
    """A console that prints strings with :func:`common.printable.printable`; lines are as long as they are."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(highlight=False, soft_wrap=True, **settings)

    def print(self, *objects: Any, **settings: Any) -> None:
        """As rich's, with every string made harmless."""
        super().print(*(printable(part) if isinstance(part, str) else part for part in objects), **settings)
