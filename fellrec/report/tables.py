"""Tables: every picture's numbers, and whatever is best read as rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fellrec.report.markup import Markup, tag

ROWS = 400
"""Rows that a table shows at most; the run's files have all."""


def table(
    caption: str, head: Sequence[str], rows: Iterable[Sequence[str | Markup]], prose: Sequence[int] = ()
) -> Markup:
    """A table that scrolls by itself where it is too wide. The first column names its row.

    Parameters
    ----------
    prose : the columns of sentences; all but these and the first are numbers and stand to the right. Where all are
        sentences and there are many, a narrow screen shows the rows one under the other.
    """
    found = list(rows)
    stacked = len(head) > 3 and len(prose) == len(head) - 1

    def kind(column: int) -> str | None:
        return "w" if column in prose else "n" if column else None

    body = [
        tag(
            "tr",
            [
                tag("td", cell, class_=kind(column), data_head=head[column] if stacked else None)
                if column
                else tag("th", cell, scope="row")
                for column, cell in enumerate(row)
            ],
        )
        for row in found[:ROWS]
    ]
    more = f" (the first {ROWS} of {len(found)} rows)" if len(found) > ROWS else ""
    return tag(
        "div",
        tag(
            "table",
            tag("caption", f"{caption}{more}"),
            tag(
                "thead",
                tag(
                    "tr",
                    [
                        tag("th", name, class_="n" if kind(column) == "n" else None, scope="col")
                        for column, name in enumerate(head)
                    ],
                ),
            ),
            tag("tbody", body),
            class_="prose" if stacked else None,
        ),
        class_="scroll",
        tabindex="0",
        role="region",
        aria_label=caption,
    )


def folded(name: str, summary: str, *content: Markup) -> Markup:
    """Content that is shown when asked for, and in print."""
    return tag("details", tag("summary", summary), content, id=name)


def figure(name: str, title: str, drawn: Markup, caption: str, *numbers: Markup) -> Markup:
    """A picture under its title, with what it means and its numbers as tables."""
    return tag(
        "figure",
        tag("h3", title),
        drawn,
        tag("figcaption", caption),
        folded(f"{name}-numbers", f"Table: {title}", *numbers),
    )


def facts(pairs: Iterable[tuple[str, str | Markup]]) -> Markup:
    """Names and what they are."""
    return tag("dl", [[tag("dt", name), tag("dd", value)] for name, value in pairs])
