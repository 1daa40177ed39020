"""MovieLens as GroupLens publishes it (https://grouplens.org/datasets/movielens): 100K, 1M, and the releases in CSV.

- ml-latest-small, ml-latest, 20M, 25M, 32M: ``movies.csv`` and ``ratings.csv``, UTF-8 with headers.
- 1M: ``movies.dat`` and ``ratings.dat``, Latin-1, separated by ``::``.
- 100K: ``u.item`` (Latin-1, separated by ``|``, a flag for each genre) and ``u.data`` (separated by tabs).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path

from common.data.dataset import Dataset
from common.data.readers.collect import BAD_LIMIT, Collector
from common.data.readers.reader import Source, reader
from common.data.readers.report import ReadReport
from common.data.readers.stream import lines, opened, table
from common.errors import DataError

LICENCE = (
    "GroupLens' terms of use: research and other non-commercial use; acknowledge the data set in publications; no "
    "redistribution without permission; no claim of endorsement by the University of Minnesota. The README in the "
    "download has them in full."
)
SOURCE = (
    "MovieLens, GroupLens, University of Minnesota, {release}. Cite F. M. Harper and J. A. Konstan, The MovieLens "
    "Datasets: History and Context, ACM TiiS 5(4), 2015."
)
RELEASES = {
    "ml-latest-small": "latest small",
    "ml-latest": "latest",
    "ml-100k": "100K",
    "ml-1m": "1M",
    "ml-20m": "20M",
    "ml-25m": "25M",
    "ml-32m": "32M",
}
URL = "https://files.grouplens.org/datasets/movielens/{name}.zip"
NO_GENRES = "(no genres listed)"

_GENRES_100K = (
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
)
_ARTICLES = "The|A|An|Le|La|Les|Un|Una|Une|Il|Lo|I|Gli|El|Los|Las|Der|Die|Das|Ein|Eine|De|Het|Den|Det|En|Et|O|Os|As"
_TRAILING_ARTICLE = re.compile(rf"(^|\()(a\.k\.a\. )?([^()]+), ({_ARTICLES})(?= *\(| *\)|$)")
_ELIDED_ARTICLE = re.compile(r"(^|\()(a\.k\.a\. )?([^()]+), (L')(?= *\(| *\)|$)")

_DESCRIBES = re.compile(r"This dataset \((ml-[a-z0-9-]+)\) describes")

Row = tuple[int, list[str]]


def _source(name: str) -> Source:
    return Source((URL.format(name=name),), LICENCE, md5=True)


@reader(*RELEASES, source=_source)
def read(folder: Path, name: str = "", min_rating: float = 0.0, limit: float = BAD_LIMIT) -> tuple[Dataset, ReadReport]:
    """Read whichever of the three raw forms the folder holds; films that nobody rated stay in the catalogue.

    The releases in CSV are told apart by the README beside the files; without one the folder is taken for ``name``, or
    for ml-latest-small. An empty ``name`` takes whatever is there.
    Ratings below ``min_rating`` are left out, every other one counts as an interaction. Raises DataError where
    no form is there, or another release than ``name``, or a file has a larger share of bad rows than ``limit``.
    """
    found = _release(folder, name)
    name = name or found
    if found != name:
        raise DataError(f"{str(folder)!r} holds {found!r}, not {name!r}", f"prepare it as {found!r}")
    if name == "ml-1m":
        items, ratings = folder / "movies.dat", folder / "ratings.dat"
        films, rows = _separated(items, "::"), _separated(ratings, "::")
    elif name == "ml-100k":
        items, ratings = folder / "u.item", folder / "u.data"
        films, rows = _films_100k(items), _separated(ratings, "\t")
    else:
        items, ratings = folder / "movies.csv", folder / "ratings.csv"
        films, rows = _csv(items, 3), _csv(ratings, 4)
    collector = Collector(items, ratings, timed=True, limit=limit)
    for row, fields in films:
        _take_film(collector, row, fields)
    left_out = sum(not _take_rating(collector, row, fields, min_rating) for row, fields in rows)
    if left_out:
        collector.report.notes.append(f"{left_out} ratings below {min_rating} left out")
    return collector.dataset(name, LICENCE, SOURCE.format(release=f"release {RELEASES[name]!r}"))


def natural_title(title: str) -> str:
    """The title as it is spoken: "Matrix, The (1999)" becomes "The Matrix (1999)", alternative titles likewise."""
    title = _TRAILING_ARTICLE.sub(lambda m: f"{m[1]}{m[2] or ''}{m[4]} {m[3]}", title)
    return _ELIDED_ARTICLE.sub(lambda m: f"{m[1]}{m[2] or ''}{m[4]}{m[3]}", title)


def _take_film(collector: Collector, row: int, fields: list[str]) -> None:
    if len(fields) != 3:
        return collector.items_tally.refuse(f"{len(fields)} fields for 3", row, fields)
    genres = "" if fields[2] == NO_GENRES else ", ".join(fields[2].split("|"))
    collector.item(row, fields[0], natural_title(fields[1].strip()), {"genres": genres})


def _take_rating(collector: Collector, row: int, fields: list[str], min_rating: float) -> bool:
    """False for a good row that is left out for its rating."""
    try:
        user, item, rating, time = fields
        stars, seconds = float(rating), int(time)
        if not math.isfinite(stars):
            raise ValueError(rating)
    except ValueError:
        collector.rows_tally.refuse("not user, film, rating and time", row, fields)
        return True
    if stars < min_rating:
        collector.rows_tally.good()
        return False
    collector.interaction(row, user, item, seconds)
    return True


def _release(folder: Path, name: str) -> str:
    """The data set's name that the files in a folder go by."""
    if (folder / "movies.csv").is_file():
        readme = folder / "README.txt"
        if readme.is_file():
            with opened(readme, "latin-1") as text:
                told = _DESCRIBES.search(text.read())
            if told:
                return told[1]
        return "ml-latest-small" if name in ("", "ml-1m", "ml-100k") else name
    if (folder / "movies.dat").is_file():
        return "ml-1m"
    if (folder / "u.item").is_file():
        return "ml-100k"
    raise DataError(
        f"no MovieLens data in {str(folder)!r}",
        "give the folder with movies.csv and ratings.csv (or movies.dat, or u.item)",
    )


def _csv(path: Path, columns: int) -> Iterator[Row]:
    rows = table(path)
    _, header = next(rows, (0, []))
    if len(header) != columns:
        raise DataError(
            f"{path.name!r} starts with the columns {header!r}, not {columns} of them", "give the file as published"
        )
    yield from rows


def _separated(path: Path, separator: str) -> Iterator[Row]:
    for row, line in lines(path, "latin-1"):
        yield row, line.split(separator)


def _films_100k(path: Path) -> Iterator[Row]:
    for row, fields in _separated(path, "|"):
        flags = fields[5:]
        known = "|".join(genre for genre, flag in zip(_GENRES_100K[1:], flags[1:], strict=False) if flag == "1")
        yield row, [*fields[:2], known] if len(flags) == len(_GENRES_100K) else fields
