from __future__ import annotations

import pytest

from common.data.readers.ids import IdColumn, absent
from common.errors import DataError


@pytest.mark.parametrize(
    ("text", "nobody"),
    [
        ("", True),
        (" ", True),
        ("nan", True),
        ("NaN", True),
        ("NULL", True),
        ("<NA>", True),
        ("None", True),
        ("0", False),
        ("nancy", False),
        ("NA", False),
        ("-", False),
    ],
)
def test_what_stands_for_nobody(text: str, nobody: bool) -> None:
    assert absent(text) == nobody


@pytest.mark.parametrize("written", [["7.0", "-3.00", "0.0"], ["7.0", "a", "7.5", "1.0.0"], ["7", "a", "7.5"]])
def test_one_way_of_writing_is_kept(written: list[str]) -> None:
    column = IdColumn("log.csv", "user")
    assert [column.plain(row, text) for row, text in enumerate(written)] == [
        text.removesuffix(".00").removesuffix(".0") if text.count(".") == 1 else text for text in written
    ]
    column.close()


@pytest.mark.parametrize("written", [["7.0", "7"], ["8", "7.0"], ["8", "a", "7.0"]])
def test_two_ways_of_writing_are_refused(written: list[str]) -> None:
    column = IdColumn("log.csv", "user")
    for row, text in enumerate(written):
        column.plain(row, text)
    with pytest.raises(DataError, match=r"'log.csv': column 'user' holds '7.0' in row .*without '.0'"):
        column.close()
