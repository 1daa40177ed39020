from __future__ import annotations

from pathlib import Path

import pytest

from common.data.readers.microlens import read
from common.errors import DataError

PAIRS = "user,item,timestamp\n36121,9580,1583378629552\n36121,3,1583378600000\n7,9580,1583378631000.0\n"
TITLES = 'item,title\n9580,"Goose, a story"\n3,  Rain &amp; sun \n8,Never met\n'


def _write(folder: Path, size: str, pairs: str, titles: str, ending: str) -> Path:
    (folder / f"MicroLens-{size}_pairs.csv").write_text(pairs)
    (folder / f"MicroLens-{size}_{ending}").write_text(titles)
    return folder


def test_50k_with_headers(tmp_path: Path) -> None:
    dataset, report = read(_write(tmp_path, "50k", PAIRS, TITLES, "titles.csv"), "microlens-50k")
    assert dataset.catalogue.keys == ("9580", "3") and dataset.catalogue.titles == ("Goose, a story", "Rain & sun")
    known = dataset.interactions
    assert known.user_keys == ("36121", "7") and known.items.tolist() == [1, 0, 0]
    assert known.times.tolist() == [1583378600, 1583378629, 1583378631]
    assert report.bad == {} and "2309.15379" in dataset.source


def test_100k_has_titles_without_a_header_nor_quotes(tmp_path: Path) -> None:
    folder = _write(tmp_path, "100k", PAIRS, "9580,Goose, a story\n3,Rain\n", "title_en.csv")
    dataset, _ = read(folder, "microlens-100k")
    assert dataset.catalogue.titles == ("Goose, a story", "Rain")


def test_videos_without_a_title_are_left_out_and_counted(tmp_path: Path) -> None:
    folder = _write(tmp_path, "50k", PAIRS, "item,title\n9580,Goose\n3,\n", "titles.csv")
    dataset, report = read(folder, "microlens-50k")
    assert len(dataset.interactions) == 2
    assert report.notes == [
        "1 videos without a title left out",
        "1 interactions with 1 items of which no title is known left out",
    ]


def test_malformed_rows_and_missing_files_are_named(tmp_path: Path) -> None:
    folder = _write(tmp_path, "50k", PAIRS + "1,2\n1,3,soon\n", TITLES, "titles.csv")
    with pytest.raises(DataError, match=r"2 of 5 rows are bad.*not user, item and time: 2 \(rows 5, 6;"):
        read(folder, "microlens-50k")
    with pytest.raises(DataError, match=r"none of MicroLens-100k_pairs.csv.*own site"):
        read(folder, "microlens-100k")
