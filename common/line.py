"""Texts of others' making, cut to a line: what a peer sends is told, and never repeated at length."""

from __future__ import annotations

LINE = 240
"""Characters of a text that may hold what somebody else sent."""


def line(text: str, most: int = LINE) -> str:
    """One line of ``text``: without line breaks or control characters, and of no more than ``most`` characters."""
    cut = text[: most + 1]
    if len(cut) > most:
        cut = cut[: most - 3] + "..."
    return cut if cut.isprintable() else "".join(sign if sign.isprintable() else "?" for sign in cut)
