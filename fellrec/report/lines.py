"""Line charts over rounds: a line a client, or where there are many, what the clients have in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median, quantiles

from fellrec.report.drawing import WIDTH, colour, dash, distinct, fits, marker, picture, words
from fellrec.report.markup import Markup, tag
from fellrec.report.numbers import short
from fellrec.report.scale import Scale, rounded, whole

LINES = 12
"""Clients that are drawn a line each."""

LEFT, RIGHT, TOP, PLOT = 46.0, 352.0, 22.0, 170.0
ROW = 17.0


@dataclass(frozen=True)
class Line:
    """A series: its values by round. ``number`` decides colour, dash and marker."""

    label: str
    points: Mapping[int, float]
    number: int


def lines(
    name: str, title: str, description: str, series: Mapping[str, Mapping[int, float]], unit: str, zero: bool = False
) -> Markup:
    """A chart of one value over rounds.

    Parameters
    ----------
    series : by client, the values by round; a round without a value breaks the line. unit : what the values are, as the
        axis says it. zero : whether the axis takes in 0.
    """
    known = {label: dict(sorted(points.items())) for label, points in series.items() if points}
    band: dict[int, tuple[float, float]] = {}
    if len(known) > LINES:
        drawn, band = _crowd(known)
    else:
        # by its place among all, so that a client looks the same in every picture, also where another has no values
        drawn = [Line(label, known[label], number) for number, label in enumerate(series) if label in known]
    rounds = sorted({at for line in drawn for at in line.points})
    values = [value for line in drawn for value in line.points.values()] + [
        edge for pair in band.values() for edge in pair
    ]
    across, up = whole(rounds, LEFT + 8, RIGHT - 8), rounded(values, PLOT, TOP + 6, zero)
    key, bottom = _key(drawn, bool(band))
    return picture(
        name,
        title,
        description,
        bottom,
        _axes(across, up, unit),
        _ribbon(band, across, up),
        [_line(line, rounds, across, up) for line in drawn],
        key,
    )


def _crowd(series: Mapping[str, Mapping[int, float]]) -> tuple[list[Line], dict[int, tuple[float, float]]]:
    """Median and middle half of many clients, with the lowest and the highest by name (by their last values)."""
    rounds = sorted({at for points in series.values() for at in points})
    each = {at: [points[at] for points in series.values() if at in points] for at in rounds}
    quarters = {at: quantiles(found, n=4, method="inclusive") for at, found in each.items() if len(found) > 1}
    by_last = sorted(series, key=lambda label: list(series[label].values())[-1])
    drawn = [
        Line(f"median of {len(series)} clients", {at: median(found) for at, found in each.items()}, 0),
        Line(f"highest: {by_last[-1]}", series[by_last[-1]], 1),
        Line(f"lowest: {by_last[0]}", series[by_last[0]], 2),
    ]
    return drawn, {at: (found[0], found[2]) for at, found in quarters.items()}


def _axes(across: Scale, up: Scale, unit: str) -> list[Markup]:
    drawn = [words(2, 12, unit, "quiet")]
    for tick in up.ticks:
        drawn.append(tag("line", x1=LEFT, x2=RIGHT, y1=round(up(tick), 1), y2=round(up(tick), 1), class_="rule"))
        drawn.append(words(LEFT - 5, up(tick) + 4, up.label(tick), "quiet", "end"))
    drawn += [words(across(tick), PLOT + 16, f"{tick:g}", "quiet", "middle") for tick in across.ticks]
    return [*drawn, words((LEFT + RIGHT) / 2, PLOT + 30, "round", "quiet", "middle")]


def _line(line: Line, rounds: Sequence[int], across: Scale, up: Scale) -> Markup:
    at = {here: (across(here), up(line.points[here])) for here in rounds if here in line.points}
    steps = [
        f"M{at[before][0]:.1f} {at[before][1]:.1f}L{at[here][0]:.1f} {at[here][1]:.1f}"
        for before, here in pairwise(rounds)
        if before in at and here in at
    ]
    return tag(
        "g",
        tag("path", d="".join(steps), class_=f"line {colour(line.number)}", stroke_dasharray=dash(line.number)),
        [
            marker(line.number, x, y, f"{line.label}, round {here}: {short(line.points[here])}")
            for here, (x, y) in at.items()
        ],
    )


def _ribbon(band: Mapping[int, tuple[float, float]], across: Scale, up: Scale) -> Markup | None:
    if not band:
        return None
    upper = [f"{across(at):.1f},{up(high):.1f}" for at, (_, high) in band.items()]
    lower = [f"{across(at):.1f},{up(low):.1f}" for at, (low, _) in band.items()]
    return tag("polygon", points=" ".join([*upper, *reversed(lower)]), class_="band")


def _key(drawn: Iterable[Line], band: bool) -> tuple[list[Markup], float]:
    entries = list(drawn)
    columns = 2 if not band and fits([line.label for line in entries], WIDTH / 2 - 44) else 1
    width, top = (WIDTH - 8) / columns, PLOT + 50
    parts: list[Markup] = []
    labels = distinct([line.label for line in entries], width - 40)
    for place, (line, label) in enumerate(zip(entries, labels, strict=True)):
        x, y = 8 + place % columns * width, top + place // columns * ROW
        parts += [
            tag(
                "line",
                x1=x,
                x2=x + 28,
                y1=y - 4,
                y2=y - 4,
                class_=f"line {colour(line.number)}",
                stroke_dasharray=dash(line.number),
            ),
            marker(line.number, x + 14, y - 4),
            words(x + 35, y, label),
        ]
    rows = -(-len(entries) // columns)
    if band:
        y = top + rows * ROW
        parts += [
            tag("rect", x=8, y=y - 10, width=28, height=11, class_="band"),
            words(43, y, "middle half of the clients"),
        ]
        rows += 1
    return parts, top + rows * ROW - 8
