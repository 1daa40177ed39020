"""What the readers of Kuaishou's click logs share: tables with headers, and the way from rows to a click log."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from common.data.attributes import Attributes
from common.data.clicks import ClickLog
from common.data.readers.collect import BAD_LIMIT
from common.data.readers.ids import absent
from common.data.readers.report import ReadReport, Tally
from common.data.readers.stream import table as csv_table
from common.data.readers.text import clean
from common.errors import DataError

Row = dict[str, str]


def table(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, Row]]:
    """Line number and the named columns of each row of a CSV file, read as it goes; a short row lacks some.

    Raises DataError where the file cannot be read, is not UTF-8, lacks a column, or holds a quote that never closes.
    """
    rows = csv_table(path)
    header = [column.strip() for column in next(rows, (0, []))[1]]
    missing = [column for column in columns if column not in header]
    if missing:
        raise DataError(
            f"{path.name!r} has no column {missing[0]!r}; its columns are {header!r}", "give the file as published"
        )
    places = {column: header.index(column) for column in columns}
    for row, fields in rows:
        yield row, {column: fields[place] for column, place in places.items() if place < len(fields)}


class ClickCollector:
    """Takes users and items first, then rows; hands over the click log at the end.

    Parameters
    ----------
    users, items, rows : the files they come from, for what is said about them.
    limit : the share of bad rows above which a file is refused.
    """

    def __init__(self, users: Path, items: Path, limit: float = BAD_LIMIT) -> None:
        self.report = ReadReport()
        self.limit = limit
        self._tallies = {"user": Tally(self.report, users, limit), "item": Tally(self.report, items, limit)}
        self._known: dict[str, dict[str, Row]] = {"user": {}, "item": {}}
        self._places: dict[str, dict[str, int]] = {"user": {}, "item": {}}
        self._rows: list[tuple[int, int, int, int]] = []

    def attribute(self, what: str, row: int, key: str | None, attributes: Mapping[str, str]) -> None:
        """One user or item (``what``) with its attributes."""
        key = normal(key or "")
        if absent(key):
            self._tallies[what].refuse(f"empty {what} id", row, attributes)
        elif key in self._known[what]:
            self._tallies[what].good()
            self.report.duplicate_ids += 1
        else:
            self._tallies[what].good()
            self._known[what][key] = {name: normal(clean(text)) for name, text in attributes.items()}

    def log(self, path: Path, user: str, item: str, click: str, time: str) -> None:
        """All rows of one log file; the arguments name its columns. An unknown user or item makes a row a bad one."""
        tally = Tally(self.report, path, self.limit)
        for row, fields in table(path, (user, item, click, time)):
            keys = {"user": normal(fields.get(user, "")), "item": normal(fields.get(item, ""))}
            unknown = [what for what, key in keys.items() if key not in self._known[what]]
            if unknown:
                tally.refuse(f"unknown {unknown[0]}", row, fields)
                continue
            try:
                moment, clicked = float(fields[time]), float(fields[click])
                if not (math.isfinite(moment) and 0 <= moment < 2**53 and clicked in (0, 1)):
                    raise ValueError(fields)
            except (KeyError, ValueError):
                tally.refuse("not a click of 0 or 1 with a time in milliseconds", row, fields)
                continue
            tally.good()
            places = [self._places[what].setdefault(key, len(self._places[what])) for what, key in keys.items()]
            self._rows.append((places[0], places[1], int(clicked), int(moment)))
        tally.close()

    def finish(
        self, name: str, user_attributes: Sequence[str], item_attributes: Sequence[str], licence: str, source: str
    ) -> tuple[ClickLog, ReadReport]:
        """Everything taken, with the users and items that the rows name; raises DataError for a file with too many bad
        rows."""
        for tally in self._tallies.values():
            tally.close()
        for what, known in self._known.items():
            unseen = len(known) - len(self._places[what])
            if unseen:
                self.report.notes.append(f"{unseen} {what}s without a row left out")
        users, items, clicks, times = np.array(self._rows, dtype=np.int64).reshape(-1, 4).T
        described = {what: [self._known[what][key] for key in places] for what, places in self._places.items()}
        log = ClickLog(
            name,
            tuple(self._places["user"]),
            tuple(self._places["item"]),
            users,
            items,
            clicks,
            times,
            Attributes.encode(described["user"], user_attributes),
            Attributes.encode(described["item"], item_attributes),
            generated=False,
            licence=licence,
            source=source,
        )
        if log.repeated:
            self.report.notes.append(f"{log.repeated} rows repeat the user, item and moment of another; all are kept")
        return log, self.report


def normal(text: str) -> str:
    """A value without surrounding space; a whole number written as a decimal ("12.0") is the number."""
    text = text.strip()
    head, point, tail = text.partition(".")
    return head if point and head.lstrip("-").isdigit() and tail.strip("0") == "" else text
