from __future__ import annotations

from pathlib import Path

import pytest

from common.data.readers.movielens import natural_title, read
from common.errors import DataError
from tests.real_data import real_data

FILMS = (
    'movieId,title,genres\r\n1,Toy Story (1995),Animation|Comedy\r\n2,"Matrix, The (1999)",Action\r\n'
    "3,Tom &amp; Jerry (1992),(no genres listed)\r\n9,Never Rated (2000),Drama\r\n"
)
RATINGS = "userId,movieId,rating,timestamp\r\n7,2,4.0,200\r\n7,1,0.5,100\r\n8,3,3.0,50\r\n"


def _write(folder: Path, **files: str | bytes) -> Path:
    for name, text in files.items():
        path = folder / name.replace("__", ".")
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def test_latest(tmp_path: Path) -> None:
    dataset, report = read(_write(tmp_path, movies__csv=FILMS, ratings__csv=RATINGS))
    assert dataset.catalogue.items == (
        {"title": "Toy Story (1995)", "genres": "Animation, Comedy"},
        {"title": "The Matrix (1999)", "genres": "Action"},
        {"title": "Tom & Jerry (1992)"},
        {"title": "Never Rated (2000)", "genres": "Drama"},
    )
    known = dataset.interactions
    assert (known.user_keys, known.items.tolist(), known.times.tolist()) == (("7", "8"), [0, 1, 2], [100, 200, 50])
    assert not dataset.generated and "Harper" in dataset.source and "non-commercial" in dataset.licence
    assert report.rows == 7 and report.bad == {}


def test_a_least_rating_leaves_ratings_out_and_says_so(tmp_path: Path) -> None:
    dataset, report = read(_write(tmp_path, movies__csv=FILMS, ratings__csv=RATINGS), min_rating=3.5)
    assert dataset.interactions.items.tolist() == [1]
    assert report.notes == ["2 ratings below 3.5 left out"] and report.bad == {}


def test_one_million(tmp_path: Path) -> None:
    films = "1::Café, The (1995)::Animation|Comedy\n2::Jumanji (1995)::Adventure\n".encode("latin-1")
    dataset, _ = read(_write(tmp_path, movies__dat=films, ratings__dat="1::2::5::978300760\n1::1::3::978302109\n"))
    assert dataset.name == "ml-1m"
    assert dataset.catalogue.items[0] == {"title": "The Café (1995)", "genres": "Animation, Comedy"}
    assert dataset.interactions.items.tolist() == [1, 0]


def test_one_hundred_thousand(tmp_path: Path) -> None:
    flags = "|".join("1" if place in (3, 5) else "0" for place in range(19))
    film = f"1|Misérables, Les (1995)|01-Jan-1995||http://example.org|{flags}\n".encode("latin-1")
    dataset, _ = read(_write(tmp_path, u__item=film, u__data="196\t1\t3\t881250949\n"))
    assert dataset.name == "ml-100k"
    assert dataset.catalogue.items == ({"title": "Les Misérables (1995)", "genres": "Animation, Comedy"},)


@pytest.mark.parametrize(
    ("title", "natural"),
    [
        (
            "Good, the Bad and the Ugly, The (Buono, il brutto, il cattivo, Il) (1966)",
            "The Good, the Bad and the Ugly (Il Buono, il brutto, il cattivo) (1966)",
        ),
        ("Bear, The (Ours, L') (1988)", "The Bear (L'Ours) (1988)"),
        ("Macbeth (a.k.a. Tragedy of Macbeth, The) (1971)", "Macbeth (a.k.a. The Tragedy of Macbeth) (1971)"),
        ("American President, The", "The American President"),
        ("Tinker, Tailor, Soldier, Spy (1979)", "Tinker, Tailor, Soldier, Spy (1979)"),
        ("Lust, Caution (Se, jie) (2007)", "Lust, Caution (Se, jie) (2007)"),
    ],
)
def test_articles_go_to_the_front(title: str, natural: str) -> None:
    assert natural_title(title) == natural


def test_malformed_rows_are_counted_by_reason(tmp_path: Path) -> None:
    films = FILMS + "4,,Drama\r\n5,Too few\r\n1,Again (1995),Drama\r\n6,Toy Story (1995),Drama\r\n"
    ratings = RATINGS + "8,99,1.0,5\r\n8,1,nan,5\r\n8,1,4.0,soon\r\n8,1\r\n,1,1.0,1\r\n"
    folder = _write(tmp_path, movies__csv=films, ratings__csv=ratings)
    dataset, report = read(folder, limit=0.7)
    assert {reason: (bad.count, bad.rows) for reason, bad in report.bad.items()} == {
        "movies.csv: empty title": (1, [6]),
        "movies.csv: 2 fields for 3": (1, [7]),
        "ratings.csv: unknown item": (1, [5]),
        "ratings.csv: not user, film, rating and time": (3, [6, 7, 8]),
        "ratings.csv: empty user id": (1, [9]),
    }
    assert (report.duplicate_ids, report.duplicate_titles) == (1, 1)
    assert dataset.catalogue.keys == ("1", "2", "3", "9", "6") and len(dataset.interactions) == 3
    with pytest.raises(DataError, match=r"'movies\.csv': 2 of 8 rows are bad.*rows 6; the first reads"):
        read(folder)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no MovieLens data"):
        read(tmp_path)
    _write(tmp_path, movies__csv=FILMS)
    with pytest.raises(DataError, match=r"ratings\.csv"):
        read(tmp_path)
    _write(tmp_path, ratings__csv="userId,movieId\r\n1,1\r\n")
    with pytest.raises(DataError, match=r"'ratings\.csv' starts with the columns \['userId', 'movieId'\]"):
        read(tmp_path)


def test_real_titles_start_with_their_article() -> None:
    dataset, _ = read(real_data("ml-latest-small"))
    film = dataset.catalogue.items[dataset.catalogue.position("2571")]
    assert film == {"title": "The Matrix (1999)", "genres": "Action, Sci-Fi, Thriller"}
    assert not [title for title in dataset.catalogue.titles if ", The (" in title]
