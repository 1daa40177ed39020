from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.data.readers.times import UNITS, moment, written_in_digits


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("1700000000", (1_700_000_000, "seconds")),
        ("1700000000.9", (1_700_000_000, "seconds")),
        ("-5", (-5, "seconds")),
        ("1700000000123", (1_700_000_000, "milliseconds")),
        ("1685336204570.0", (1_685_336_204, "milliseconds")),
        ("1700000000123456", (1_700_000_000, "microseconds")),
        ("1700000000123456789", (1_700_000_000, "nanoseconds")),
        ("2023-11-14T22:13:20", (1_700_000_000, "dates")),
        ("2023-11-14T23:13:20+01:00", (1_700_000_000, "dates")),
        ("1969-12-31T23:59:59", (-1, "dates")),
        (" 1970-01-02 ", (86_400, "dates")),
        ("1970/01/02", (86_400, "dates")),
        ("2023-11-14 22:13:20 UTC", (1_700_000_000, "dates")),
    ],
)
def test_times_in_the_usual_forms(text: str, found: tuple[int, str]) -> None:
    assert moment(text) == found


@given(st.integers(200_000_000, 4_000_000_000), st.integers(0, 3))
def test_every_unit_tells_itself_from_1976_on(seconds: int, finer: int) -> None:
    assert moment(str(seconds * 1000**finer)) == (seconds, UNITS[finer])


@pytest.mark.parametrize("text", ["", "soon", "nan", "inf", "1e300", "14.11.2023"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        moment(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("20231114", 1_699_920_000),
        ("20231114.0", 1_699_920_000),
        ("20231114221320", 1_700_000_000),
        ("202311142213", 1_699_999_980),
    ],
)
def test_dates_in_digits(text: str, seconds: int) -> None:
    assert moment(text, digits=True) == (seconds, "dates")


@pytest.mark.parametrize(
    ("column", "dates"),
    [
        (["20240131", "20240229", ""], True),
        (["20240131"] * 99 + ["soon"], True),
        (["20240131", "20240230"], False),
        (["20240131", "1700000000"], False),
        (["1700000000", "20240131"], False),
        ([], False),
    ],
)
def test_a_column_is_of_dates_where_all_its_numbers_are(column: list[str], dates: bool) -> None:
    assert written_in_digits(column, 0.01) == dates
