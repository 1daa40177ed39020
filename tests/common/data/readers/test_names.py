from __future__ import annotations

from pathlib import Path

import pytest

from common.data.readers.names import in_short, look_up, named, read
from common.data.sets import check_name
from common.errors import ConfigError, DataError


def test_every_name_is_one_and_a_list_shows_a_family_once() -> None:
    assert len(set(named())) == len(named()) and all(check_name(name) for name in named())
    assert set(in_short()) <= {*named(), "amazon-2018-CATEGORY", "amazon-2023-CATEGORY"}
    assert {"sample", "ml-latest-small", "microlens-50k", "amazon-games", "kuaisar", "kuairand-1k"} <= set(in_short())


def test_a_name_that_only_looks_like_a_sets_is_refused_with_the_nearest() -> None:
    with pytest.raises(
        ConfigError, match=r"'amazon-2023-bok' names no set of 'amazon-2023-CATEGORY'.*'amazon-2023-books'"
    ):
        look_up("amazon-2023-bok")
    with pytest.raises(ConfigError, match=r"luxury-beauty.*write one of .*amazon-2023-beauty-and-personal-care"):
        look_up("amazon-2023-luxury-beauty")
    assert look_up("shop") is None and look_up("sample") is None


@pytest.mark.parametrize(("name", "near"), [("ml-25mm", "'ml-25m'"), ("movie-lens", "there are sample, ")])
def test_no_name_falls_through_to_another_reader(tmp_path: Path, name: str, near: str) -> None:
    (tmp_path / "movies.csv").write_text("movieId,title,genres\n1,Toy Story (1995),Comedy\n")
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,1,4.0,964982703\n")
    with pytest.raises(ConfigError, match=f"no reader has the name {name!r}.*{near}"):
        read(name, tmp_path)


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
