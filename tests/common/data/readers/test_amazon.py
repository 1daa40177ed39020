from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from common.data.readers.amazon import CATEGORIES, NAMES, read
from common.errors import DataError

META_2018 = [
    {
        "asin": "B001",
        "title": "Zelda &amp; Link",
        "brand": "by\n    \n    Nintendo",
        "category": ["Video Games", "Wii"],
    },
    {"asin": "B002", "title": "var aPageStart = (new Date()).getTime();", "brand": "X", "category": []},
    {"asin": "B003", "title": "<span id='a'>Tetris</span>"},
    {"asin": "B004", "title": "Portal", "brand": "", "main_cat": "PC"},
    {"asin": "B005", "title": "Never reviewed"},
]
REVIEWS_2018 = [
    {"reviewerID": "A1", "asin": "B001", "overall": 5.0, "unixReviewTime": 300, "reviewText": "again"},
    {"reviewerID": "A1", "asin": "B001", "overall": 1.0, "unixReviewTime": 100},
    {"reviewerID": "A1", "asin": "B004", "overall": 2.0, "unixReviewTime": 200},
    {"reviewerID": "A2", "asin": "B004", "overall": 3.0, "unixReviewTime": 50},
    {"reviewerID": "A2", "asin": "B002", "overall": 3.0, "unixReviewTime": 60},
]


def _write(path: Path, rows: list[dict], packed: bool = True) -> None:
    body = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(body) if packed else body)


def _release_2018(folder: Path, packed: bool = True, reviews: list[dict] = REVIEWS_2018) -> Path:
    _write(folder / ("Video_Games_5.json.gz" if packed else "Video_Games_5.json"), reviews, packed)
    _write(folder / ("meta_Video_Games.json.gz" if packed else "meta_Video_Games.json"), META_2018, packed)
    return folder


@pytest.mark.parametrize("packed", [True, False])
def test_the_2018_release(tmp_path: Path, packed: bool) -> None:
    dataset, report = read(_release_2018(tmp_path, packed), "amazon-2018-video-games", 2018, "Video_Games")
    assert dataset.catalogue.keys == ("B001", "B004")
    assert dataset.catalogue.items == (
        {"title": "Zelda & Link", "brand": "Nintendo", "category": "Video Games, Wii"},
        {"title": "Portal"},
    )
    known = dataset.interactions
    # The last of A1's two reviews of B001 counts.
    assert (
        known.user_keys == ("A1", "A2") and known.items.tolist() == [1, 0, 1] and known.times.tolist() == [200, 300, 50]
    )
    assert report.notes == [
        "1 items with no title, or with a part of a web page for one, left out",
        "1 interactions with 1 items of which no title is known left out",
        "1 repeated interactions of a user with an item, but the last, left out",
    ]
    assert "EMNLP 2019" in dataset.source and "release 2018, Video Games" in dataset.source and not dataset.generated


@pytest.mark.parametrize("columns", ["{item},{user},5.0,{time}", "{user},{item},5.0,{time}"])
def test_ratings_without_a_header_in_either_order(tmp_path: Path, columns: str) -> None:
    rows = [columns.format(item=r["asin"], user=r["reviewerID"], time=r["unixReviewTime"]) for r in REVIEWS_2018]
    (tmp_path / "Video_Games.csv").write_text("\n".join(rows) + "\n")
    _write(tmp_path / "meta_Video_Games.json.gz", META_2018)
    dataset, _ = read(tmp_path, "games", 2018, "Video_Games")
    assert dataset.interactions.user_keys == ("A1", "A2") and dataset.interactions.items.tolist() == [1, 0, 1]


META_2023 = [
    {"parent_asin": "B1", "title": "Dune", "store": "Ace", "categories": ["Books", "SF"], "main_category": "Books"},
    {"parent_asin": "B2", "title": "Emma", "store": None, "categories": [], "main_category": "Books"},
]


@pytest.mark.parametrize("form", ["csv", "csv.gz", "csv without header", "jsonl.gz"])
def test_the_2023_release(tmp_path: Path, form: str) -> None:
    rows = [
        ("AE1", "B1", 4.0, 1_600_000_000_999),
        ("AE1", "B2", 5.0, 1_500_000_000_000),
        ("AE1", "B1", 4.0, 1_700_000_000_000),
    ]
    if form.startswith("jsonl"):
        keys = ("user_id", "parent_asin", "rating", "timestamp")
        _write(tmp_path / "Books.jsonl.gz", [dict(zip(keys, row, strict=True)) for row in rows])
    else:
        header = "" if "without" in form else "user_id,parent_asin,rating,timestamp\n"
        body = (header + "".join(f"{','.join(map(str, row))}\n" for row in rows)).encode()
        (tmp_path / f"Books.{form.split()[0]}").write_bytes(gzip.compress(body) if "gz" in form else body)
    _write(tmp_path / "meta_Books.jsonl.gz", META_2023)
    dataset, _ = read(tmp_path, "amazon-2023-books", 2023, "Books")
    assert dataset.catalogue.items == (
        {"title": "Dune", "brand": "Ace", "category": "Books, SF"},
        {"title": "Emma", "category": "Books"},
    )
    # The first of the two reviews of B1 counts, and milliseconds become seconds.
    assert dataset.interactions.times.tolist() == [1_500_000_000, 1_600_000_000]
    assert dataset.interactions.items.tolist() == [1, 0] and "2403.03952" in dataset.licence


def test_bad_rows_are_counted_and_named(tmp_path: Path) -> None:
    _release_2018(tmp_path, packed=False)
    with (tmp_path / "Video_Games_5.json").open("a") as more:
        more.write('{"reviewerID": "A3"}\nno json\n[1]\n{"reviewerID": "", "asin": "B001", "unixReviewTime": 1}\n')
    with pytest.raises(DataError, match=r"4 of 9 rows are bad.*not user, item and time: 3 \(rows 6, 7, 8"):
        read(tmp_path, "games", 2018, "Video_Games")
    dataset, report = read(tmp_path, "games", 2018, "Video_Games", limit=0.5)
    assert len(dataset.interactions) == 3 and report.bad["Video_Games_5.json: empty user id"].rows == [9]


def test_metadata_of_something_else_is_refused(tmp_path: Path) -> None:
    _release_2018(tmp_path)
    _write(tmp_path / "meta_Video_Games.json.gz", [{"asin": "Z1", "title": "Spoon"}])
    with pytest.raises(DataError, match=r"5 of 5 rows of 'Video_Games_5.json.gz' are of items that 'meta_Video"):
        read(tmp_path, "games", 2018, "Video_Games")


def test_missing_and_broken_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none of Video_Games_5.json, Video_Games.json, Video_Games.csv"):
        read(tmp_path, "games", 2018, "Video_Games")
    _release_2018(tmp_path)
    whole = (tmp_path / "Video_Games_5.json.gz").read_bytes()
    (tmp_path / "Video_Games_5.json.gz").write_bytes(whole[:-20])
    with pytest.raises(DataError, match=r"'Video_Games_5.json.gz' is not a whole gzip file"):
        read(tmp_path, "games", 2018, "Video_Games")
    _write(tmp_path / "meta_Books.jsonl.gz", META_2023)
    (tmp_path / "Books.csv").write_text("user,item,stars,when\nx,y,1,2\n")
    with pytest.raises(DataError, match=r"'Books.csv' has no column 'user_id', only \['user', 'item'"):
        read(tmp_path, "books", 2023, "Books")


@pytest.mark.parametrize("write", [int, float, str, lambda time: f"{time}.0"])
@pytest.mark.parametrize("table", [True, False])
def test_times_of_the_2023_release_as_numbers_decimals_or_text(tmp_path: Path, write: Callable, table: bool) -> None:
    times = [write(1_700_000_000_123 + n) for n in range(3)]
    _write(tmp_path / "meta_Books.jsonl", [{"parent_asin": f"B{n}", "title": f"T{n}"} for n in range(3)])
    if table:
        rows = "".join(f"u{n},B{n},5.0,{time}\n" for n, time in enumerate(times))
        (tmp_path / "Books.csv").write_text(f"user_id,parent_asin,rating,timestamp\n{rows}")
    else:
        rows = [{"user_id": f"u{n}", "parent_asin": f"B{n}", "timestamp": time} for n, time in enumerate(times)]
        _write(tmp_path / "Books.jsonl", rows)
    dataset, report = read(tmp_path, "amazon-2023-books", 2023, "Books")
    assert dataset.interactions.times.tolist() == [1_700_000_000] * 3 and report.bad == {}


@pytest.mark.parametrize("time", ["soon", None, True, float("nan"), float("inf"), 1e300, [1]])
def test_a_time_that_is_none_makes_a_bad_row(tmp_path: Path, time: object) -> None:
    _write(tmp_path / "meta_Books.jsonl", [{"parent_asin": "B1", "title": "T"}])
    rows = [{"user_id": "u", "parent_asin": "B1", "timestamp": when} for when in (1_700_000_000_000, time)]
    _write(tmp_path / "Books.jsonl", rows)
    dataset, report = read(tmp_path, "amazon-2023-books", 2023, "Books", limit=0.5)
    assert len(dataset.interactions) == 1 and report.bad["Books.jsonl: not user, item and time"].rows == [2]


def test_metadata_as_python_literals_say_so(tmp_path: Path) -> None:
    _release_2018(tmp_path, packed=False)
    (tmp_path / "meta_Video_Games.json").write_text("{'asin': 'B001', 'title': 'Widget'}\n")
    with pytest.raises(DataError, match=r"'meta_Video_Games.json': line 1 is not JSON.*Python literals"):
        read(tmp_path, "amazon-2018-video-games", 2018, "Video_Games")


def test_categories_of_both_releases() -> None:
    assert (len(CATEGORIES[2018]), len(CATEGORIES[2023])) == (29, 33)
    assert NAMES["amazon-2018-video-games"] == (2018, "Video_Games")
    assert NAMES["amazon-2023-movies-and-tv"] == (2023, "Movies_and_TV") and "amazon-games" not in NAMES
