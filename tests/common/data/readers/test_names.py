from __future__ import annotations

from pathlib import Path

import pytest

from common.data.readers.names import CATEGORIES, NAMED, amazon_category, read
from common.data.sets import check_name
from common.errors import ConfigError, DataError


def test_categories_of_both_releases() -> None:
    assert (len(CATEGORIES[2018]), len(CATEGORIES[2023])) == (29, 33)
    assert amazon_category("amazon-2018-video-games") == (2018, "Video_Games")
    assert amazon_category("amazon-2023-movies-and-tv") == (2023, "Movies_and_TV")
    assert amazon_category("amazon-games") is None and amazon_category("shop") is None
    assert len(set(NAMED)) == len(NAMED) and all(check_name(name) for name in NAMED)


def test_an_unknown_category_names_those_there_are() -> None:
    with pytest.raises(
        ConfigError, match=r"'amazon-2023-luxury-beauty' names no category.*beauty-and-personal-care, books"
    ):
        amazon_category("amazon-2023-luxury-beauty")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("amazon-2018-books", "Books_5.json"),
        ("amazon-2023-books", "Books.jsonl"),
        ("microlens-50k", "MicroLens-50k_pairs.csv"),
        ("amazon-games", r"\*\.item"),
        ("ml-1m", "no MovieLens data"),
    ],
)
def test_each_name_has_its_reader(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read(name, tmp_path)
