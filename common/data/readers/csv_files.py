"""Anybody's data: one table of items, one of interactions, separated by commas, semicolons or tabs."""

from __future__ import annotations

import time as clock
from collections import Counter
from pathlib import Path

from common.data.dataset import Dataset
from common.data.readers.collect import BAD_LIMIT, Collector
from common.data.readers.headed import Headed
from common.data.readers.report import ReadReport
from common.data.readers.times import moment
from common.errors import DataError

ITEM = ("item_id", "item", "movie_id", "product_id", "parent_asin", "asin", "isbn", "id")
TITLE = ("title", "name", "item_title", "product_title")
USER = ("user_id", "user", "reviewer_id", "customer_id")
TIME = ("timestamp", "time", "date", "datetime", "unix_review_time")

_DAY = 86_400


def read(
    items: Path, interactions: Path, name: str, licence: str = "", source: str = "", limit: float = BAD_LIMIT
) -> tuple[Dataset, ReadReport]:
    """Read two tables with headers into a data set called ``name``.

    Items need an id and a title; every further column is an attribute. Interactions need a user and an item, and may
    have a time in seconds (or milliseconds and finer) or ISO 8601; other columns (a rating, say) are passed over.
    Columns are found by usual names in any case. Of rows alike in user, item and time one is kept. Rows with a time
    before 1970, or more than a day from now, are bad. Raises DataError where a column is missing, a file has a larger
    share of bad rows than ``limit``, or there are fewer than two items.
    """
    catalogue, history = Headed.open(items), Headed.open(interactions)
    key, title = catalogue.column("item id", ITEM), catalogue.column("title", TITLE)
    user, item, time = history.column("user", USER), history.column("item", ITEM), history.find(TIME)
    others = {index: column for index, column in enumerate(catalogue.header) if column and index not in (key, title)}
    collector = Collector(items, interactions, timed=time is not None, limit=limit)
    for table in (catalogue, history):
        if table.encoding not in ("utf-8-sig", "utf-16"):
            collector.report.notes.append(f"{table.path.name} is not UTF-8, and was read as {table.encoding}")
    for row, fields in catalogue.rows():
        if len(fields) != len(catalogue.header):
            collector.items_tally.refuse(f"{len(fields)} fields for {len(catalogue.header)}", row, fields)
        else:
            collector.item(row, fields[key], fields[title], {column: fields[index] for index, column in others.items()})
    _take_history(collector, history, user, item, time)
    said = source or f"{items.name} and {interactions.name}"
    repeats = "exact" if time is not None else "keep"
    dataset, report = collector.dataset(name, licence or "not stated", said, repeats)
    if len(dataset.catalogue) < 2:
        raise DataError(f"{items.name!r} holds one item only", "there is nothing to rank: give two items or more")
    if dataset.users == 1:
        report.notes.append("one user only: run it as one client, there is nobody to share it out to")
    return dataset, report


def _take_history(collector: Collector, history: Headed, user: int, item: int, time: int | None) -> None:
    units: Counter[str] = Counter()
    last = clock.time() + _DAY
    for row, fields in history.rows():
        if len(fields) != len(history.header):
            collector.rows_tally.refuse(f"{len(fields)} fields for {len(history.header)}", row, fields)
            continue
        seconds = 0
        if time is not None:
            try:
                seconds, unit = moment(fields[time])
            except (ValueError, OverflowError):
                reason = "unreadable time (write seconds since 1970, or YYYY-MM-DD HH:MM:SS)"
                collector.rows_tally.refuse(reason, row, fields)
                continue
            if not 0 <= seconds <= last:
                collector.rows_tally.refuse(f"time {'before 1970' if seconds < 0 else 'in the future'}", row, fields)
                continue
            units[unit] += 1
        collector.interaction(row, fields[user], fields[item], seconds)
    if len(units) > 1:
        told = ", ".join(f"{count} in {unit}" for unit, count in units.most_common())
        collector.report.notes.append(f"times of {history.path.name} are written in several ways: {told}")
