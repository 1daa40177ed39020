"""fellrec/report/drawing.py: names fit and stay apart, series too."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fellrec.report.drawing import LETTER, colour, dash, distinct, fitted, marker


@given(st.lists(st.text(alphabet="ab-…9", min_size=1, max_size=60), min_size=1, max_size=8), st.floats(21, 300))
def test_names_fit(names: list[str], units: float) -> None:
    for name in [*distinct(names, units), *(fitted(name, units) for name in names)]:
        assert len(name) * LETTER <= max(units, 3 * LETTER)


def test_long_names_differ_by_what_they_differ_in() -> None:
    long = [f"a-very-long-name-{number}-of-the-northern-region" for number in range(12)]
    assert distinct(long, 6 * LETTER)[:2] == ["a-…0…", "a-…1…"] and len(set(distinct(long, 6 * LETTER))) == 12
    assert distinct(long, 30 * LETTER)[11] == "a-very-long-name-11…"
    assert distinct(["north", "south"], 100) == ["north", "south"]
    assert fitted("abcdefghij", 5 * LETTER) == "ab…ij"


def test_series_are_told_apart_without_their_colours() -> None:
    kinds = {(dash(number), str(marker(number, 0, 0)).replace(colour(number), "")) for number in range(20)}
    assert len(kinds) == 20
    assert len({(colour(number), dash(number), str(marker(number, 0, 0))) for number in range(140)}) == 140
