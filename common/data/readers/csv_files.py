"""Anybody's data: one table of items, one of interactions, separated by commas, semicolons or tabs."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from common.data.dataset import Dataset
from common.data.readers.collect import BAD_LIMIT, Collector
from common.data.readers.report import ReadReport
from common.data.readers.text import clean, contents
from common.errors import DataError

ITEM = ("item_id", "item", "movie_id", "product_id", "parent_asin", "asin", "isbn", "id")
TITLE = ("title", "name", "item_title", "product_title")
USER = ("user_id", "user", "reviewer_id", "customer_id")
TIME = ("timestamp", "time", "date", "datetime", "unix_review_time")

_LAST_SECOND = 100_000_000_000  # the year 5138; greater numbers are milliseconds


def read(
    items: Path, interactions: Path, name: str, licence: str = "", source: str = "", limit: float = BAD_LIMIT
) -> tuple[Dataset, ReadReport]:
    """Read two tables with headers into a data set called ``name``.

    Items need an id and a title; every further column is an attribute. Interactions need a user and an item, and may
    have a time in seconds, milliseconds or ISO 8601; other columns (a rating, say) are passed over. Columns are found
    by usual names in any case. Raises DataError where a column is missing, or a file has a larger share of bad rows
    than ``limit``.
    """
    catalogue, history = _Table.open(items), _Table.open(interactions)
    key, title = catalogue.column("item id", ITEM), catalogue.column("title", TITLE)
    user, item, time = history.column("user", USER), history.column("item", ITEM), history.find(TIME)
    others = {index: column for index, column in enumerate(catalogue.header) if column and index not in (key, title)}
    collector = Collector(items, interactions, timed=time is not None, limit=limit)
    for table in (catalogue, history):
        if not table.utf8:
            collector.report.notes.append(f"{table.path.name} is not UTF-8, and was read as Latin-1")
    for row, fields in catalogue.rows():
        if len(fields) != len(catalogue.header):
            collector.items_tally.refuse(f"{len(fields)} fields for {len(catalogue.header)}", row, fields)
        else:
            collector.item(row, fields[key], fields[title], {column: fields[index] for index, column in others.items()})
    for row, fields in history.rows():
        if len(fields) != len(history.header):
            collector.rows_tally.refuse(f"{len(fields)} fields for {len(history.header)}", row, fields)
            continue
        try:
            moment = 0 if time is None else seconds(fields[time])
        except (ValueError, OverflowError):
            collector.rows_tally.refuse("unreadable time", row, fields)
            continue
        collector.interaction(row, fields[user], fields[item], moment)
    said = source or f"{items.name} and {interactions.name}"
    return collector.dataset(name, licence or "not stated", said)


def seconds(text: str) -> int:
    """Seconds since 1970 from seconds, milliseconds or ISO 8601 (UTC unless it says otherwise); raises ValueError."""
    try:
        number = float(text)
    except ValueError:
        moment = datetime.fromisoformat(text.strip())
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    if not math.isfinite(number) or abs(number) > 1000 * _LAST_SECOND:
        raise ValueError(text)
    return int(number / 1000 if abs(number) > _LAST_SECOND else number)


@dataclass(frozen=True)
class _Table:
    path: Path
    text: str
    utf8: bool
    delimiter: str
    header: tuple[str, ...]

    @classmethod
    def open(cls, path: Path) -> _Table:
        raw = contents(path)
        try:
            text, utf8 = raw.decode("utf-8-sig"), True
        except UnicodeDecodeError:
            text, utf8 = raw.decode("latin-1"), False
        first = text.partition("\n")[0]
        delimiter = max(",;\t", key=first.count)
        header = next(csv.reader([first], delimiter=delimiter), [])
        # Atomic files of RecBole write the type after a colon: item_id:token.
        return cls(path, text, utf8, delimiter, tuple(clean(column).partition(":")[0] for column in header))

    def find(self, aliases: tuple[str, ...]) -> int | None:
        """The column of the first alias that is there."""
        columns = [_plain(column) for column in self.header]
        return next((columns.index(_plain(alias)) for alias in aliases if _plain(alias) in columns), None)

    def column(self, what: str, aliases: tuple[str, ...]) -> int:
        """The column of the first alias that is there; raises DataError where none is."""
        found = self.find(aliases)
        if found is None:
            raise DataError(
                f"{self.path.name!r} has no column for the {what}; its columns are {list(self.header)!r}",
                f"call it {aliases[0]!r} (also taken: {', '.join(aliases[1:])})",
            )
        return found

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Line number and fields of each row after the header."""
        lines = csv.reader(io.StringIO(self.text, newline=None), delimiter=self.delimiter)
        try:
            next(lines, None)
            for fields in lines:
                if fields:
                    yield lines.line_num, fields
        except csv.Error as error:
            raise DataError(
                f"{self.path.name!r} cannot be read after line {lines.line_num}: {error}",
                "look for a quotation mark that is never closed",
            ) from error


def _plain(column: str) -> str:
    return re.sub(r"[^a-z0-9]", "", column.lower())
