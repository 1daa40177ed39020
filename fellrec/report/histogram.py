"""How many clients have which value: for clients who are too many to be drawn one by one."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from fellrec.report.drawing import picture, words
from fellrec.report.markup import Markup, tag
from fellrec.report.numbers import count, short
from fellrec.report.scale import Scale, rounded

BINS = 20
LEFT, RIGHT, TOP, PLOT = 46.0, 352.0, 40.0, 180.0

Bin = tuple[float, float, int]
"""From, to, and how many values lie there."""


def histogram(name: str, title: str, description: str, values: Sequence[float], unit: str) -> Markup:
    """A histogram of at least one value, with the median as a line. ``unit`` is what the values are."""
    across = _across(values)
    found = binned(values)
    up = rounded([float(many) for _, _, many in found], PLOT, TOP, zero=True)
    middle = median(values)
    at = across(middle)
    grid = [
        part
        for tick in up.ticks
        for part in (
            tag("line", x1=LEFT, x2=RIGHT, y1=round(up(tick), 1), y2=round(up(tick), 1), class_="rule"),
            words(LEFT - 5, up(tick) + 4, up.label(tick), "quiet", "end"),
        )
    ]
    columns = [
        tag(
            "rect",
            tag("title", f"{short(low)} to {short(high)}: {count(many)} clients"),
            x=round(across(low) + 0.5, 1),
            y=round(up(many), 1),
            width=round(across(high) - across(low) - 1, 1),
            height=round(PLOT - up(many), 1),
            class_="bar",
        )
        for low, high, many in found
        if many
    ]
    ticks = [words(across(tick), PLOT + 16, across.label(tick), "quiet", "middle") for tick in across.ticks]
    told = words(min(max(at, LEFT + 44), RIGHT - 44), TOP - 11, f"median {short(middle)}", anchor="middle")
    line = tag("line", x1=round(at, 1), x2=round(at, 1), y1=TOP - 6, y2=PLOT, class_="median")
    return picture(
        name,
        title,
        description,
        PLOT + 34,
        words(2, 12, "clients", "quiet"),
        grid,
        columns,
        line,
        told,
        ticks,
        words((LEFT + RIGHT) / 2, PLOT + 30, unit, "quiet", "middle"),
    )


def binned(values: Sequence[float]) -> list[Bin]:
    """The values by bins of one width; a value on an edge counts to the bin above, the highest to the last."""
    scale = _across(values)
    width = (scale.high - scale.low) / BINS
    many = [0] * BINS
    for value in values:
        many[min(BINS - 1, max(0, int((value - scale.low) / width + 1e-9)))] += 1
    return [(scale.low + place * width, scale.low + (place + 1) * width, found) for place, found in enumerate(many)]


def _across(values: Sequence[float]) -> Scale:
    return rounded(values, LEFT, RIGHT, ticks=5)
