"""Bars, a row each, with the name above the bar: names of any length fit, on a phone too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fellrec.report.drawing import WIDTH, fitted, marker, picture, words
from fellrec.report.markup import Markup, tag
from fellrec.report.numbers import decimal
from fellrec.report.scale import Scale, rounded

ROWS = 24
"""Rows that are drawn; of more, the first and last halves."""

START, END, HEIGHT = 6.0, 308.0, 36.0


@dataclass(frozen=True)
class Bar:
    """A row: a value, and marks on the same scale beside it."""

    label: str
    value: float
    marks: Mapping[str, float] = field(default_factory=dict)


def bars(name: str, title: str, description: str, rows: Sequence[Bar], digits: int = 4) -> Markup:
    """A chart of non-negative values from 0 on, in the order given."""
    kept = rows if len(rows) <= ROWS else [*rows[: ROWS // 2], *rows[-ROWS // 2 :]]
    values = [value for row in kept for value in (row.value, *row.marks.values())]
    scale = rounded(values, START, END, zero=True)
    marks = list(dict.fromkeys(mark for row in kept for mark in row.marks))
    key, top = _key(marks)
    places = [place + (len(kept) < len(rows) and place >= ROWS // 2) for place in range(len(kept))]
    drawn = [_row(row, top + place * HEIGHT, scale, marks, digits) for place, row in zip(places, kept, strict=True)]
    if len(kept) < len(rows):
        between = f"… {len(rows) - len(kept)} between them are in the table"
        drawn.append(words(START, top + ROWS // 2 * HEIGHT + 24, between, "quiet"))
    bottom = top + (len(kept) + (len(kept) < len(rows))) * HEIGHT
    grid = [
        tag("line", x1=round(scale(tick), 1), x2=round(scale(tick), 1), y1=top, y2=bottom, class_="rule")
        for tick in scale.ticks
    ]
    ticks = [
        words(scale(tick), bottom + 13, scale.label(tick), "quiet", "middle" if tick else "start")
        for tick in scale.ticks
    ]
    return picture(name, title, description, bottom + 18, grid, key, drawn, ticks)


def _row(row: Bar, y: float, scale: Scale, marks: Sequence[str], digits: int) -> Markup:
    x = scale(max(0.0, row.value))
    return tag(
        "g",
        words(START, y + 12, fitted(row.label, WIDTH - 60)),
        words(WIDTH - 2, y + 28, decimal(row.value, digits), anchor="end"),
        tag(
            "rect",
            tag("title", f"{row.label}: {decimal(row.value, digits)}"),
            x=START,
            y=y + 17,
            width=round(x - START, 1),
            height=13,
            class_="bar",
        ),
        [
            marker(marks.index(mark) + 1, scale(value), y + 23.5, f"{row.label}, {mark}: {decimal(value, digits)}", 4.2)
            for mark, value in row.marks.items()
        ],
    )


def _key(marks: Sequence[str]) -> tuple[list[Markup], float]:
    if not marks:
        return [], 4.0
    drawn, x, y = [], 10.0, 12.0
    for place, mark in enumerate(marks):
        width = 24 + 7.2 * len(mark)
        if x > 10 and x + width > WIDTH:
            x, y = 10.0, y + 17
        drawn += [marker(place + 1, x, y - 4, size=4.2), words(x + 10, y, fitted(mark, WIDTH - 30))]
        x += width
    return drawn, y + 8
