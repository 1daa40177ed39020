"""fellrec/report/tables.py: heads, rows that name themselves, and an end to many."""

from __future__ import annotations

from fellrec.report.tables import ROWS, table
from tests.fellrec.report.reading import Page


def test_a_row_is_named_by_its_first_cell_and_numbers_stand_to_the_right() -> None:
    page = Page(table("Losses", ["client", "loss", "why"], [["<b>", "1.0", "x"]], prose=(2,)))
    assert [(tag, found.get("scope"), found.get("class")) for tag, found in page.elements if tag in ("th", "td")] == [
        ("th", "col", None),
        ("th", "col", "n"),
        ("th", "col", None),
        ("th", "row", None),
        ("td", None, "n"),
        ("td", None, "w"),
    ]
    assert "<b>" in page.said and "b" not in page.tags()


def test_a_table_of_sentences_says_its_heads_in_each_row() -> None:
    page = Page(table("T", ["what", "when", "whom", "how"], [["a", "b", "c", "d"]], prose=(1, 2, 3)))
    assert page.values("data-head") == ["when", "whom", "how"]


def test_many_rows_end_and_it_says_so() -> None:
    page = Page(table("T", ["n"], [[str(n)] for n in range(ROWS + 1)]))
    assert page.tags().count("tr") == ROWS + 1 and f"the first {ROWS} of {ROWS + 1} rows" in page.said
