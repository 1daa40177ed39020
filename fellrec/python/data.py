"""Data sets from a script or a notebook: prepared once, then named by runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.home import data_home
from fellrec.deferred import Deferred
from fellrec.python.rows import Rows, flat_row

if TYPE_CHECKING:
    from common.data import filters as filtering
    from common.data import prepare as preparing
    from common.data import summary as summaries
else:
    filtering = Deferred("common.data.filters")
    preparing = Deferred("common.data.prepare")
    summaries = Deferred("common.data.summary")


def prepare(
    name: str,
    raw: str | os.PathLike[str] | None = None,
    *,
    items: str | os.PathLike[str] | None = None,
    interactions: str | os.PathLike[str] | None = None,
    core: int = 0,
    top_items: int = 0,
    called: str = "",
    accept_licence: bool = False,
    home: str | os.PathLike[str] = "",
) -> dict[str, Any]:
    """Reads a data set once and keeps it, ready for runs; returns what it holds, in plain values.

    Parameters
    ----------
    name : str
        One of the named sets of ``docs/data.md``, or a name for your own two tables.
    raw : str or path, optional
        Folder with a named set's files; None downloads them, where the source allows that and the licence is accepted.
    items, interactions : str or path, optional
        Your own tables, CSV.
    core : int
        Fewest interactions of a user and of an item that are kept; 0 keeps all.
    top_items : int
        Number of the most popular items that are kept; 0 keeps all.
    called : str
        The prepared set's name; '' takes ``name`` with the filters.
    accept_licence : bool
        Whether the source's licence is accepted.
    home : str or path
        Folder where fellrec keeps things; '' takes ``$FELLREC_HOME``, by default ``~/.fellrec``.

    Returns
    -------
    ``name``, ``counts`` (users, items, interactions), ``folder``, ``licence``, ``titles`` and more, and ``read``: lines that say
    what was met in the files.

    Raises
    ------
    ConfigError : settings that do not go together.
    DataError : data that cannot be had or read, or leave nobody to be tested.
    """
    _, report, folder = preparing.prepare(
        name,
        _path(raw),
        data_home(os.fspath(home)),
        accept_licence,
        _path(items),
        _path(interactions),
        filters=filtering.Filters(core, top_items),
        called=called,
    )
    found: dict[str, Any] = summaries.summary(folder)
    return found | {"read": list(report.lines())}


def sets(*, home: str | os.PathLike[str] = "") -> Rows:
    """A row for each prepared data set: name, counts, filters, licence; one that cannot be read has ``damaged`` instead."""
    return Rows(flat_row(row) for row in summaries.listing(data_home(os.fspath(home))))


def _path(given: str | os.PathLike[str] | None) -> Path | None:
    return None if given is None else Path(given).expanduser()
