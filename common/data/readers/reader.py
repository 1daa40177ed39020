"""Who reads which named data set, and where it is downloaded from: each reader's own file puts it here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.data.clicks import ClickLog
from common.data.dataset import Dataset
from common.data.readers.report import ReadReport
from common.data.sets import check_name
from common.errors import ConfigError

Read = Callable[[Path, str], tuple[Dataset | ClickLog, ReadReport]]
"""Reads the raw folder of the data set of this name; raises DataError for what cannot be read."""


@dataclass(frozen=True)
class Source:
    """The files of a data set at their source.

    Parameters
    ----------
    urls : one https address a file.
    licence : the terms, in words.
    md5 : whether the source publishes an MD5 checksum beside each file.
    """

    urls: tuple[str, ...]
    licence: str
    md5: bool = False


@dataclass(frozen=True)
class Reader:
    """The reader of a family of named data sets.

    Parameters
    ----------
    names : of the sets. shown : what stands for them in a list. prefix : other names that begin so are refused; '' for none.
    clicks : whether they are click logs. source : where a set is downloaded from; None where it is to be had by hand only.
    """

    names: tuple[str, ...]
    read: Read
    shown: tuple[str, ...]
    prefix: str
    clicks: bool
    source: Callable[[str], Source] | None


READERS: dict[str, Reader] = {}
"""The readers by the names of the sets that they read, each put here by its own file."""


def reader(
    *names: str,
    shown: Sequence[str] = (),
    prefix: str = "",
    clicks: bool = False,
    source: Callable[[str], Source] | None = None,
) -> Callable[[Read], Read]:
    """Decorates what reads the data sets of these names; the parameters are those of :class:`Reader`.

    The same function defined anew, as in a notebook, takes the former's place.

    Raises
    ------
    ConfigError : no name, or one that cannot name a data set or that another reader has.
    """
    if not names:
        raise ConfigError("a reader has no name", "give one or more, as in @reader('shop')")

    def put(read: Read) -> Read:
        for name in names:
            former = READERS.get(check_name(name))
            if name == "sample" or (former is not None and _place(former.read) != _place(read)):
                raise ConfigError(f"two readers have the name {name!r}", "give one another name")
        found = Reader(names, read, tuple(shown) or names, prefix, clicks, source)
        READERS.update(dict.fromkeys(names, found))
        return read

    return put


def _place(read: Read) -> tuple[str, str]:
    return read.__module__, read.__qualname__
