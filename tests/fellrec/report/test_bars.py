"""fellrec/report/bars.py: values, marks, and the halves of many."""

from __future__ import annotations

from fellrec.report.bars import ROWS, Bar, bars
from tests.fellrec.report.reading import Page


def test_a_bar_is_as_long_as_its_value_and_marks_stand_on_the_same_scale() -> None:
    page = Page(bars("b", "Bars", "d", [Bar("north", 0.5, {"popularity": 1.0}), Bar("south", 1.0)]))
    widths = [float(found["width"] or 0) for tag, found in page.elements if tag == "rect"]
    assert widths[0] * 2 == widths[1]
    assert "north, popularity: 1.0000" in page.said and "0.5000" in page.said


def test_of_many_rows_the_ends_are_drawn_and_the_rest_is_counted() -> None:
    page = Page(bars("b", "Bars", "d", [Bar(f"row {n}", float(n)) for n in range(ROWS + 6)]))
    assert page.tags().count("rect") == ROWS and "6 between them are in the table" in page.said
    assert f"row {ROWS + 5}" in page.said and f"row {ROWS // 2 + 2}:" not in page.said


def test_zeros_can_be_drawn() -> None:
    assert "0.0000" in Page(bars("b", "Bars", "d", [Bar("north", 0.0)])).said
