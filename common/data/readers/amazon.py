"""Amazon reviews by category: the 2018 release (Ni, Li, McAuley) and the 2023 release (McAuley Lab, Hou et al.).

Forms, as published (https://nijianmo.github.io/amazon and https://amazon-reviews-2023.github.io; a category is called
``Video_Games``, and files may be gzip or not):

- 2018: ``Video_Games_5.json`` (5-core) or ``Video_Games.json`` with a review a line (reviewerID, asin, unixReviewTime in
  seconds); or ``Video_Games.csv``, ratings only, without a header; ``meta_Video_Games.json`` (asin, title, brand,
  category).
- 2023: ``Video_Games.csv`` with user_id, parent_asin, rating, timestamp in milliseconds (further columns may follow), or
  ``Video_Games.jsonl`` with a review a line; ``meta_Video_Games.jsonl`` (parent_asin, title, store, categories).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from common.data.dataset import Dataset
from common.data.readers.collect import BAD_LIMIT, Collector, Repeats
from common.data.readers.reader import Source, reader
from common.data.readers.report import ReadReport
from common.data.readers.stream import first_of, objects, table
from common.data.readers.text import clean
from common.errors import DataError

_LOOKED_AT = 1000
_REMEDY = "get it from the data set's page, or leave --raw out to download it"
# The release's own page removes titles with "getTime": a script of the web page that was taken for one.
_NO_TITLE = re.compile(r"getTime|aPageStart|<\s*/?\s*(script|style|span|div|img|a|br|p)\b", re.IGNORECASE)

Rating = tuple[str, str, int]
Row = tuple[int, Rating | None, object]


@dataclass(frozen=True)
class Release:
    """How a release writes its files: endings of the interactions' files in order of preference, keys, unit of time."""

    year: int
    reviews: tuple[str, ...]
    meta: str
    item: str
    user: str
    time: str
    brand: str
    category: str
    ticks: int
    repeats: Repeats
    cite: str


RELEASES = {
    2018: Release(
        2018,
        ("_5.json", ".json", ".csv"),
        ".json",
        "asin",
        "reviewerID",
        "unixReviewTime",
        "brand",
        "category",
        1,
        "last",
        "J. Ni, J. Li and J. McAuley, Justifying Recommendations using Distantly-Labeled Reviews and "
        "Fine-Grained Aspects, EMNLP 2019",
    ),
    2023: Release(
        2023,
        (".csv", ".jsonl"),
        ".jsonl",
        "parent_asin",
        "user_id",
        "timestamp",
        "store",
        "categories",
        1000,
        "first",
        "Y. Hou, J. Li, Z. He, A. Yan, X. Chen and J. McAuley, Bridging Language and Items for Retrieval and "
        "Recommendation, arXiv:2403.03952, 2024",
    ),
}

# Categories as the releases write them; a data set's name has them in lower case with dashes: amazon-2023-books.
_SHARED = (
    "All_Beauty",
    "Appliances",
    "Arts_Crafts_and_Sewing",
    "Automotive",
    "Books",
    "CDs_and_Vinyl",
    "Cell_Phones_and_Accessories",
    "Clothing_Shoes_and_Jewelry",
    "Digital_Music",
    "Electronics",
    "Gift_Cards",
    "Grocery_and_Gourmet_Food",
    "Home_and_Kitchen",
    "Industrial_and_Scientific",
    "Kindle_Store",
    "Magazine_Subscriptions",
    "Movies_and_TV",
    "Musical_Instruments",
    "Office_Products",
    "Patio_Lawn_and_Garden",
    "Pet_Supplies",
    "Software",
    "Sports_and_Outdoors",
    "Tools_and_Home_Improvement",
    "Toys_and_Games",
    "Video_Games",
)
CATEGORIES = {
    2018: (*_SHARED, "AMAZON_FASHION", "Luxury_Beauty", "Prime_Pantry"),
    2023: (
        *_SHARED,
        "Amazon_Fashion",
        "Baby_Products",
        "Beauty_and_Personal_Care",
        "Handmade_Products",
        "Health_and_Household",
        "Health_and_Personal_Care",
        "Subscription_Boxes",
    ),
}

_PLACE = "https://mcauleylab.ucsd.edu/public_datasets/data/"


def licence(year: int) -> str:
    """The terms of use, in words."""
    return f"No licence is stated by the data set's authors: for research; cite {RELEASES[year].cite}."


def read(folder: Path, name: str, year: int, category: str, limit: float = BAD_LIMIT) -> tuple[Dataset, ReadReport]:
    """Read the reviews and the metadata of one category, ``Video_Games`` say, into a data set called ``name``.

    Every review counts as an interaction, whatever its rating. Of a user's reviews of one item the last counts in the
    2018 release (as in FELLRec's preparation), the first in the 2023 release (as in its own benchmark files). Items are
    those that were reviewed and have a title; both files are read line by line, and of the metadata only what was
    reviewed is kept. Raises DataError where a file is missing, has a larger share of bad rows than ``limit``, or less
    than half of the reviews are of items with a title.
    """
    release = RELEASES[year]
    reviews = first_of(folder, [category + ending for ending in release.reviews], name, _REMEDY)
    meta = first_of(folder, [f"meta_{category}{release.meta}"], name, _REMEDY)
    collector = Collector(meta, reviews, timed=True, limit=limit)
    for row, rating, content in _ratings(reviews, meta, release):
        if rating is None:
            collector.rows_tally.refuse("not user, item and time", row, content)
        else:
            collector.meeting(row, *rating)
    dropped = 0
    for row, fields in objects(meta):
        if fields is None or not isinstance(fields.get(release.item), str):
            collector.items_tally.refuse(f"no JSON object with {release.item!r}", row, fields)
        elif collector.has(fields[release.item]):
            title = clean(_text(fields.get("title")))
            if not title or _NO_TITLE.search(title):
                dropped += 1
            else:
                collector.item(row, fields[release.item], title, _attributes(fields, release))
    if dropped:
        collector.report.notes.append(f"{dropped} items with no title, or with a part of a web page for one, left out")
    return collector.dataset(
        name,
        licence(year),
        f"Amazon reviews, release {year}, {category.replace('_', ' ')}, from {reviews.name}. Cite {release.cite}.",
        repeats=release.repeats,
    )


def set_name(year: int, category: str) -> str:
    """The data set's name: ``amazon-2023-books`` for ``(2023, "Books")``."""
    return f"amazon-{year}-{category.lower().replace('_', '-')}"


NAMES = {set_name(year, category): (year, category) for year in CATEGORIES for category in CATEGORIES[year]}
"""Release and category of each data set."""


def _source(name: str) -> Source:
    """The 5-core files: the whole releases are ten times as large, and --raw takes them too."""
    year, category = NAMES[name]
    files = {
        2018: (f"amazon_v2/categoryFilesSmall/{category}_5.json.gz", f"amazon_v2/metaFiles2/meta_{category}.json.gz"),
        2023: (
            f"amazon_2023/benchmark/5core/rating_only/{category}.csv.gz",
            f"amazon_2023/raw/meta_categories/meta_{category}.jsonl.gz",
        ),
    }
    return Source(tuple(_PLACE + file for file in files[year]), licence(year))


def _named(folder: Path, name: str) -> tuple[Dataset, ReadReport]:
    return read(folder, name, *NAMES[name])


for _year in CATEGORIES:
    reader(
        *(name for name, (year, _) in NAMES.items() if year == _year),
        shown=[f"amazon-{_year}-CATEGORY"],
        prefix=f"amazon-{_year}",
        source=_source,
    )(_named)


def _attributes(fields: dict[str, Any], release: Release) -> dict[str, str]:
    brand = clean(_text(fields.get(release.brand))).removeprefix("by ")
    categories = fields.get(release.category)
    named = ", ".join(map(_text, categories)) if isinstance(categories, list) else ""
    return {"brand": brand, "category": named or _text(fields.get("main_category"))}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _ratings(reviews: Path, meta: Path, release: Release) -> Iterator[Row]:
    if ".csv" in reviews.suffixes:
        yield from _table_ratings(reviews, meta, release)
        return
    for row, fields in objects(reviews):
        user, item, time = ((fields or {}).get(key) for key in (release.user, release.item, release.time))
        seconds = _seconds(time, release)
        if isinstance(user, str) and isinstance(item, str) and seconds is not None:
            yield row, (user, item, seconds), fields
        else:
            yield row, None, fields


def _seconds(time: object, release: Release) -> int | None:
    """Seconds of a time that programs have written as a whole number, a decimal or text; None for what is no time."""
    if isinstance(time, bool) or not isinstance(time, int | float | str):
        return None
    try:
        ticks = int(time)
    except (ValueError, OverflowError):
        try:
            ticks = int(float(time))
        except (ValueError, OverflowError):
            return None
    seconds = ticks // release.ticks
    return seconds if abs(seconds) < 2**40 else None


def _table_ratings(reviews: Path, meta: Path, release: Release) -> Iterator[Row]:
    rows = table(reviews)
    first = list(islice(rows, _LOOKED_AT))
    if first and len(first[0][1]) > 2 and not first[0][1][2].replace(".", "").isdigit():
        header = first.pop(0)[1]
        missing = [column for column in (release.user, release.item, release.time) if column not in header]
        if missing:
            raise DataError(f"{reviews.name!r} has no column {missing[0]!r}, only {header!r}", "give it as published")
        user, item, time = (header.index(column) for column in (release.user, release.item, release.time))
    else:
        # The 2018 page says item first, and copies with the user first are about: the metadata tells.
        known = {fields.get(release.item) for _, fields in islice(objects(meta), 100_000) if fields}
        hits = [sum(len(fields) > column and fields[column] in known for _, fields in first) for column in (0, 1)]
        (item, user), time = ((0, 1) if hits[0] >= hits[1] else (1, 0)), 3
    for row, fields in chain(first, rows):
        seconds = _seconds(fields[time], release) if len(fields) > max(user, item, time) else None
        yield row, None if seconds is None else (fields[user], fields[item], seconds), fields
