"""The named data sets: which there are, and who reads them."""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from common.data import readers
from common.data.clicks import ClickLog
from common.data.dataset import Dataset
from common.data.readers.reader import READERS, Reader
from common.data.readers.report import ReadReport
from common.errors import ConfigError, DataError

SAMPLE = "sample"
"""The one that is generated, and read from nowhere."""

# each file names its own sets
for _file in iter_modules(readers.__path__):
    if _file.name != "names":
        import_module(f"{readers.__name__}.{_file.name}")


def named() -> tuple[str, ...]:
    """The names of all sets."""
    return (SAMPLE, *READERS)


def in_short() -> tuple[str, ...]:
    """The names as a list shows them: one for all sets that differ in a category only."""
    return tuple(dict.fromkeys((SAMPLE, *(shown for found in READERS.values() for shown in found.shown))))


def look_up(name: str) -> Reader | None:
    """Who reads the set of this name; None for any other name.

    Raises
    ------
    ConfigError : the name begins as those of a reader, and is none of them.
    """
    if name in READERS:
        return READERS[name]
    for found in READERS.values():
        if found.prefix and name.startswith(found.prefix):
            near = nearest(name)
            raise ConfigError(
                f"{name!r} names no set of {' or '.join(map(repr, found.shown))}",
                f"{f'did you mean {near}? ' if near else ''}write one of {', '.join(sorted(found.names))}",
            )
    return None


def nearest(name: str) -> str:
    """The names that are most like this one, in quotes; '' where none is."""
    return " or ".join(map(repr, get_close_matches(name, named(), n=3, cutoff=0.75)))


def read(name: str, folder: Path) -> tuple[Dataset | ClickLog, ReadReport]:
    """Reads the raw folder of a named data set.

    Raises
    ------
    ConfigError : no reader has the name. DataError : the folder cannot be read, or holds another set.
    """
    found = look_up(name)
    if found is None:
        near = nearest(name)
        raise ConfigError(
            f"no reader has the name {name!r}",
            f"did you mean {near}?" if near else f"there are {', '.join(in_short())}",
        )
    dataset, report = found.read(folder, name)
    if dataset.name != name:
        raise DataError(f"{str(folder)!r} holds {dataset.name!r}, not {name!r}", f"prepare it as {dataset.name}")
    return dataset, report
