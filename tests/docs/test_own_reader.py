"""docs/data.md, "your own reader: one file": the file as the page has it reads the form that the page shows, up to a run."""

from __future__ import annotations

import importlib.util
import random
import sys
from pathlib import Path

import pytest

import fellrec
from common.data.readers.reader import READERS
from tests.docs.pages import blocks
from tests.federation import tiny_settings

PAGE = "docs/data.md"


@pytest.fixture
def club(tmp_path: Path):
    """The page's file, imported; its reader is gone afterwards."""
    before = dict(READERS)
    (block,) = [block for block in blocks(PAGE) if block.language == "python"]
    (tmp_path / "film_club.py").write_text(block.text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("film_club", tmp_path / "film_club.py")
    assert spec and spec.loader
    sys.modules["film_club"] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["film_club"]
    READERS.clear()
    READERS.update(before)


def book(folder: Path, members: int = 24, bad: int = 0) -> Path:
    """Three lines of the page, and evenings drawn in its form."""
    (shown,) = [block.text for block in blocks(PAGE) if block.language == "csv"]
    draw, films = random.Random(0), [f"Film {number}" for number in range(12)]
    lines = [
        f"2024-{1 + evening:02d}-{1 + member:02d}|member {member}|{film}|Country {film[-1]}"
        for member in range(members)
        for evening, film in enumerate(draw.sample(films, 5))
    ]
    folder.mkdir()
    (folder / "book.txt").write_text(shown + "\n".join(lines + ["torn page"] * bad) + "\n", encoding="utf-8")
    return folder


def test_the_file_is_a_reader_from_the_book_to_a_run(fellrec_home: Path, tmp_path: Path, club) -> None:
    found = fellrec.prepare("film-club", raw=book(tmp_path / "club", bad=1))
    assert found["counts"] == {"users": 26, "items": 14, "interactions": 123} and "country" in found["attributes"]
    assert any("not day, member, film and country" in line for line in found["read"])
    run = fellrec.run(
        tiny_settings(fellrec_home, data__sets="film-club:2", num_server_rounds=1), in_process=True, quiet=True
    )
    assert [row["client"] for row in run.clients] == ["film-club-0", "film-club-1"]


def test_a_book_with_many_bad_lines_is_refused(fellrec_home: Path, tmp_path: Path, club) -> None:
    with pytest.raises(fellrec.DataError, match="not day, member, film and country"):
        fellrec.prepare("film-club", raw=book(tmp_path / "club", bad=9))


def test_without_the_file_nobody_reads_it(fellrec_home: Path, tmp_path: Path) -> None:
    with pytest.raises(fellrec.ConfigError, match="none of the named data sets"):
        fellrec.prepare("film-club", raw=tmp_path)
