"""The names of data sets, and how a federation's are written: ``ml-latest-small:1 amazon-games:4``."""

from __future__ import annotations

import re

from common.errors import ConfigError

POOL = "pool"
"""The one client of centralised training, which holds every client's data: a reference, only to be had in simulation."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def check_name(name: str) -> str:
    """The name itself when it can name a data set, and so a folder; raises ConfigError where it cannot."""
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} cannot name a data set",
            "use up to 64 letters, digits, dots, dashes and underscores, a letter or digit first",
        )
    return name


def parse_sets(text: str, default_clients: int = 5) -> list[tuple[str, int]]:
    """Data sets with their numbers of clients, from names joined by spaces or "+", each with an optional ``:count``.

    Several sets make a cross-domain federation: each is shared out by itself. A count of 0 means one client for every
    user, for the partition that can do that. Raises ConfigError that names the part it cannot read.
    """
    sets: list[tuple[str, int]] = []
    for part in text.replace("+", " ").split():
        name, colon, count = part.partition(":")
        if not _NAME.fullmatch(name) or (colon and not (count.isascii() and count.isdigit() and len(count) < 8)):
            raise ConfigError(
                f"cannot read {part!r} in the data sets {text!r}",
                "write NAME or NAME:CLIENTS, as in 'ml-latest-small:1'",
            )
        if name in dict(sets):
            raise ConfigError(
                f"data set {name!r} stands twice in {text!r}", f"name it once, with all its clients: '{name}:4'"
            )
        sets.append((name, int(count) if colon else default_clients))
    if not sets:
        raise ConfigError(f"no data set is named in {text!r}", "name at least one, for instance 'sample'")
    return sets
