"""The way from rows to a data set that all readers share."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from common.data.catalogue import Catalogue
from common.data.dataset import Dataset
from common.data.interactions import Interactions
from common.data.readers.report import ReadReport, Tally
from common.data.readers.text import clean

BAD_LIMIT = 0.01


class Collector:
    """Takes items first, then interactions, row by row; hands over the data set at the end.

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
        self._positions: dict[str, int] = {}
        self._titles: set[str] = set()
        self._users: dict[str, int] = {}
        self._rows: list[tuple[int, int, int]] = []

    def item(self, row: int, key: str, title: str, attributes: dict[str, str] | None = None) -> None:
        """One item with its raw text; attributes that come out empty are left away."""
        key, title = key.strip(), clean(title)
        if not key:
            self.items_tally.refuse("empty item id", row, (key, title))
        elif not title:
            self.items_tally.refuse("empty title", row, (key, title))
        else:
            self.items_tally.good()
            if key in self._items:
                self.report.duplicate_ids += 1
                return
            self.report.duplicate_titles += title in self._titles
            self._titles.add(title)
            cleaned = {name: clean(text) for name, text in (attributes or {}).items()}
            self._positions[key] = len(self._items)
            self._items[key] = {"title": title} | {name: text for name, text in cleaned.items() if text}

    def interaction(self, row: int, user: str, item: str, time: int = 0) -> None:
        """One interaction; the item's id is looked up among the items."""
        user, item = user.strip(), item.strip()
        position = self._positions.get(item)
        if not user:
            self.rows_tally.refuse("empty user id", row, (user, item))
        elif position is None:
            self.rows_tally.refuse("unknown item", row, (user, item))
        else:
            self.rows_tally.good()
            self._rows.append((self._users.setdefault(user, len(self._users)), position, time))

    def dataset(self, name: str, licence: str, source: str) -> tuple[Dataset, ReadReport]:
        """Everything taken; raises DataError where a file had too many bad rows."""
        self.items_tally.close()
        self.rows_tally.close()
        users, items, times = np.array(self._rows, dtype=np.int64).reshape(-1, 3).T
        catalogue = Catalogue(name, tuple(self._items), tuple(self._items.values()))
        interactions = Interactions(tuple(self._users), users, items, times if self.timed else None)
        return Dataset(name, catalogue, interactions, generated=False, licence=licence, source=source), self.report
