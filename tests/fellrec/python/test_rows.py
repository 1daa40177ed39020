"""fellrec/python/rows.py: rows as a data frame takes them, and as a notebook shows them."""

from __future__ import annotations

from fellrec.python.rows import SHOWN, Rows, flat_row


def test_nested_mappings_become_dotted_names() -> None:
    assert flat_row({"a": 1, "b": {"c": {"d": 2.5}, "e": None}}) == {"a": 1, "b.c.d": 2.5, "b.e": None}


def test_a_table_has_every_column_once_and_steers_no_page() -> None:
    html = Rows([{"a": 1, "b": 0.123456}, {"a": "<script>", "c": None}])._repr_html_()
    assert html.startswith("<table><thead><tr><th>a</th><th>b</th><th>c</th></tr></thead>")
    assert "<td>0.1235</td>" in html and "&lt;script&gt;" in html and "<script>" not in html


def test_of_many_rows_the_first_are_shown_and_the_rest_is_counted() -> None:
    html = Rows({"n": number} for number in range(SHOWN + 7))._repr_html_()
    assert html.count("<td>") == SHOWN and "and 7 more rows" in html
