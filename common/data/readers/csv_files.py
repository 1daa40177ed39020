"""Anybody's data: one table of items, one of interactions, separated by commas, semicolons or tabs."""

from __future__ import annotations

import math
import time as clock
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from common.data.dataset import Dataset
from common.data.readers.collect import BAD_LIMIT, Collector, Repeats
from common.data.readers.headed import Headed
from common.data.readers.ids import IdColumn
from common.data.readers.report import ReadReport
from common.data.readers.times import moment, written_in_digits
from common.errors import DataError

ITEM = (
    "item_id",
    "item",
    "movie_id",
    "product_id",
    "parent_asin",
    "asin",
    "isbn",
    "book_id",
    "game_id",
    "video_id",
    "track_id",
    "song_id",
    "artist_id",
    "article_id",
    "news_id",
    "business_id",
    "recipe_id",
    "app_id",
    "sku",
    "id",
)
TITLE = (
    "title",
    "name",
    "item_title",
    "item_name",
    "product_title",
    "product_name",
    "movie_title",
    "book_title",
    "game_title",
    "video_title",
    "track_name",
    "song_title",
    "article_title",
    "news_title",
    "headline",
)
USER = ("user_id", "user", "reviewer_id", "customer_id", "member_id", "account_id", "visitor_id", "session_id", "uid")
TIME = (
    "timestamp",
    "time",
    "date",
    "datetime",
    "unix_review_time",
    "timestamp_ms",
    "time_ms",
    "unix_time",
    "event_time",
    "created_at",
    "purchase_date",
    "order_date",
)

_DAY = 86_400


def read(
    items: Path, interactions: Path, name: str, licence: str = "", source: str = "", limit: float = BAD_LIMIT
) -> tuple[Dataset, ReadReport]:
    """Read two tables with headers into a data set called ``name``.

    Items need an id and a title; every further column is an attribute. Interactions need a user and an item, and may
    have a time in seconds (or milliseconds and finer), ISO 8601 or YYYYMMDD; other columns (a rating, say) are passed
    over. Columns are found by usual names in any case. Of rows alike in user, item and time one is kept. Rows with a
    time before 1970, or more than a day from now, are bad. Raises DataError where a column is missing or comes twice,
    ids are written in two ways, a file has a larger share of bad rows than ``limit``, or there are fewer than two items.
    """
    catalogue, history = Headed.open(items), Headed.open(interactions)
    key, title = catalogue.column("item id", ITEM), catalogue.column("title", TITLE)
    user, item, time = history.column("user", USER), history.column("item", ITEM), history.find(TIME)
    others = {index: column for index, column in enumerate(catalogue.header) if column and index not in (key, title)}
    collector = Collector(items, interactions, timed=time is not None, limit=limit)
    for table in (catalogue, history):
        if table.encoding not in ("utf-8-sig", "utf-16", "utf-32"):
            collector.report.notes.append(f"{table.path.name} is not UTF-8, and was read as {table.encoding}")
    ids = IdColumn(items.name, catalogue.header[key])
    for row, fields in catalogue.rows():
        if len(fields) != len(catalogue.header):
            collector.items_tally.refuse(f"{len(fields)} fields for {len(catalogue.header)}", row, fields)
        else:
            attributes = {column: fields[index] for index, column in others.items()}
            collector.item(row, ids.plain(row, fields[key]), fields[title], attributes)
    ids.close()
    _take_history(collector, history, user, item, time)
    said = source or f"{items.name} and {interactions.name}"
    repeats: Repeats = "exact" if time is not None else "keep"
    dataset, report = collector.dataset(name, licence or "not stated", said, repeats)
    if len(dataset.catalogue) < 2:
        raise DataError(f"{items.name!r} holds one item only", "there is nothing to rank: give two items or more")
    if dataset.users == 1:
        report.notes.append("one user only: run it as one client, there is nobody to share it out to")
    return dataset, report


def _take_history(collector: Collector, history: Headed, user: int, item: int, time: int | None) -> None:
    units: Counter[str] = Counter()
    ids = {column: IdColumn(history.path.name, history.header[column]) for column in (user, item)}
    digits = time is not None and written_in_digits(_column(history, time), collector.rows_tally.limit)
    last, first_met, last_met = clock.time() + _DAY, math.inf, 0
    for row, fields in history.rows():
        if len(fields) != len(history.header):
            collector.rows_tally.refuse(f"{len(fields)} fields for {len(history.header)}", row, fields)
            continue
        seconds = 0
        if time is not None:
            try:
                seconds, unit = moment(fields[time], digits)
            except (ValueError, OverflowError):
                reason = "unreadable time (write seconds since 1970, or YYYY-MM-DD HH:MM:SS)"
                collector.rows_tally.refuse(reason, row, fields)
                continue
            if not 0 <= seconds <= last:
                collector.rows_tally.refuse(f"time {'before 1970' if seconds < 0 else 'in the future'}", row, fields)
                continue
            units[unit] += 1
            first_met, last_met = min(first_met, seconds), max(last_met, seconds)
        keys = {column: own.plain(row, fields[column]) for column, own in ids.items()}
        collector.interaction(row, keys[user], keys[item], seconds)
    for own in ids.values():
        own.close()
    if units:
        told = (
            ", ".join(f"{count} in {unit}" for unit, count in units.most_common())
            if len(units) > 1
            else next(iter(units))
        )
        collector.report.times = f"{told}, {_day(first_met)} to {_day(last_met)}"


def _column(table: Headed, column: int) -> Iterator[str]:
    return (fields[column] for _, fields in table.rows() if column < len(fields))


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()
