"""The way from rows to a data set that all readers share."""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from common.data.catalogue import Catalogue
from common.data.dataset import Dataset
from common.data.interactions import Interactions
from common.data.readers.ids import absent
from common.data.readers.report import ReadReport, Tally
from common.data.readers.text import clean
from common.errors import DataError

BAD_LIMIT = 0.01

_NO_TEXT = {"nan", "NaN", "<NA>"}
"""What programs write for a text that is not there."""

Repeats = Literal["keep", "exact", "first", "last"]


class Collector:
    """Takes items and interactions row by row; hands over the data set at the end.

    Parameters
    ----------
    items, interactions : the files that the rows come from, for what is said about them.
    timed : whether interactions have times.
    limit : the share of bad rows above which a file is refused.
    """

    def __init__(self, items: Path, interactions: Path, timed: bool, limit: float = BAD_LIMIT) -> None:
        self.report = ReadReport()
        self.items_tally = Tally(self.report, items, limit)
        self.rows_tally = Tally(self.report, interactions, limit)
        self.timed = timed
        self._items: dict[str, dict[str, str]] = {}
        self._titles: set[str] = set()
        self._users: dict[str, int] = {}
        self._met: dict[str, int] = {}
        # Arrays of numbers: 16 bytes an interaction, where tuples take ten times as much.
        self._rows = array("i"), array("i"), array("q")

    def has(self, key: str) -> bool:
        """Whether an interaction taken so far names this item."""
        return key in self._met

    def item(self, row: int, key: str, title: str, attributes: dict[str, str] | None = None) -> None:
        """One item with its raw text; attributes that come out empty are left away."""
        key, title = key.strip(), clean(title)
        if absent(key):
            self.items_tally.refuse(_no("item", key), row, (key, title))
        elif not title or title in _NO_TEXT:
            self.items_tally.refuse("empty title", row, (key, title))
        else:
            self.items_tally.good()
            if key in self._items:
                self.report.duplicate_ids += 1
                return
            self.report.duplicate_titles += title in self._titles
            self._titles.add(title)
            cleaned = {name: clean(text) for name, text in (attributes or {}).items()}
            told = {name: text for name, text in cleaned.items() if text and text not in _NO_TEXT}
            self._items[key] = {"title": title} | told

    def interaction(self, row: int, user: str, item: str, time: int = 0) -> None:
        """One interaction; its item must have come before."""
        if item.strip() in self._items:
            self.meeting(row, user, item, time)
        elif absent(user) or absent(item):
            self.meeting(row, user, item, time)
        else:
            self.rows_tally.refuse("unknown item", row, (user, item))

    def meeting(self, row: int, user: str, item: str, time: int = 0) -> None:
        """One interaction whose item may come after it, or never: then it is left out at the end, and counted."""
        user, item = user.strip(), item.strip()
        if absent(user):
            self.rows_tally.refuse(_no("user", user), row, (user, item))
        elif absent(item):
            self.rows_tally.refuse(_no("item", item), row, (user, item))
        else:
            self.rows_tally.good()
            users, items, times = self._rows
            users.append(self._users.setdefault(user, len(self._users)))
            items.append(self._met.setdefault(item, len(self._met)))
            times.append(time)

    def dataset(self, name: str, licence: str, source: str, repeats: Repeats = "keep") -> tuple[Dataset, ReadReport]:
        """Everything taken; raises DataError where a file had too many bad rows, or titles are known for less than half.

        ``repeats`` : of a user's interactions with one item, keep all, all that differ in time, the first or the last.
        """
        users, met, times = (np.frombuffer(values, dtype=values.typecode) for values in self._rows)
        positions = {key: position for position, key in enumerate(self._items)}
        items = np.array([positions.get(key, -1) for key in self._met], dtype=np.int32)[met]
        known = items >= 0
        if 2 * (~known).sum() > self.rows_tally.rows:
            raise DataError(
                f"{(~known).sum()} of {self.rows_tally.rows} rows of {self.rows_tally.path.name!r} are of items that "
                f"{self.items_tally.path.name!r} has no title of",
                "give both files of the same data set and release",
            )
        self.items_tally.close()
        self.rows_tally.close()
        if not known.all():
            self.report.notes.append(
                f"{(~known).sum()} interactions with {len(np.unique(met[~known]))} items of which no title is known "
                f"left out"
            )
        users, items, times = users[known], items[known], times[known]
        kept = _once(users, items, times, repeats)
        if not kept.all():
            which = {"exact": "of the same time"}.get(repeats, f"but the {repeats}")
            self.report.notes.append(f"{(~kept).sum()} repeated interactions of a user with an item, {which}, left out")
        met_users, users = np.unique(users[kept], return_inverse=True)
        keys = list(self._users)
        interactions = Interactions(
            tuple(keys[user] for user in met_users),
            users.astype(np.int32),
            items[kept],
            times[kept] if self.timed else None,
        )
        catalogue = Catalogue(name, tuple(self._items), tuple(self._items.values()))
        return Dataset(name, catalogue, interactions, generated=False, licence=licence, source=source), self.report


def _no(what: str, key: str) -> str:
    return f"{what} id {key!r}" if key else f"empty {what} id"


def _once(
    users: NDArray[np.integer], items: NDArray[np.integer], times: NDArray[np.integer], repeats: Repeats
) -> NDArray[np.bool_]:
    kept = np.ones(len(users), dtype=bool)
    if repeats == "keep" or not len(users):
        return kept
    order = np.lexsort((times, items, users))
    u, i, t = users[order], items[order], times[order]
    same = (u[1:] == u[:-1]) & (i[1:] == i[:-1])
    if repeats == "exact":
        same &= t[1:] == t[:-1]
    kept[order[:-1] if repeats == "last" else order[1:]] = ~same
    return kept
