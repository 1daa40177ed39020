"""client_app/title_finder.py: exactly, or nearest with a note, or not at all."""

from __future__ import annotations

import pytest

from client_app.title_finder import TitleFinder
from common.errors import DataError

TITLES = ("The Matrix (1999)", "Toy Story (1995)", "Toy Story 2 (1999)", "Up (2009)", "Toy Story (1995)", "神の塔")


@pytest.mark.parametrize(
    ("asked", "place", "noted"),
    [
        ("Toy Story (1995)", 1, False),
        (" Up (2009) ", 3, False),
        ("神の塔", 5, False),
        ("the matrix", 0, True),
        ("Toy Stroy 2", 2, True),
        ("toy story (1995)", 1, True),
    ],
)
def test_titles_are_found_as_they_are_or_by_their_spelling(asked: str, place: int, noted: bool) -> None:
    found, note = TitleFinder(TITLES).find(asked)
    assert found == place
    assert note == (f"{asked!r} was read as {TITLES[place]!r}" if noted else "")


@pytest.mark.parametrize("asked", ["qqqq", "", "  ", "%$&"])
def test_what_is_like_nothing_is_refused(asked: str) -> None:
    with pytest.raises(DataError, match="no title of the catalogue is like"):
        TitleFinder(TITLES).find(asked)
