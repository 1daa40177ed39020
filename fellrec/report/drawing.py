"""What all pictures share: the SVG around them, markers, and names that fit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from os.path import commonprefix

from fellrec.report.markup import Content, Markup, tag

COLOURS = 7
DASHES = ("", "7 3", "2 3", "9 3 2 3")
MARKERS = ("circle", "square", "triangle", "diamond", "cross")

WIDTH = 360.0
"""Units across a picture: text of 12 units stays readable where the picture is 290 pixels wide."""

LETTER = 7.0
"""Units that a letter takes at most, in the mean over a name."""


def picture(name: str, title: str, description: str, height: float, *content: Content) -> Markup:
    """An SVG that says what it shows; ``name`` is unique on its page."""
    return tag(
        "svg",
        tag("title", title, id=f"{name}-title"),
        tag("desc", description, id=f"{name}-desc"),
        *content,
        viewBox=f"0 0 {WIDTH:g} {height:g}",
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
    )


def words(x: float, y: float, content: str, class_: str | None = None, anchor: str | None = None) -> Markup:
    """A line of text."""
    return tag("text", content, x=round(x, 1), y=round(y, 1), class_=class_, text_anchor=anchor)


def fits(names: Iterable[str], units: float) -> bool:
    """Whether all names take no more than so many units."""
    return all(len(name) * LETTER <= units for name in names)


def distinct(names: Sequence[str], units: float) -> list[str]:
    """Names that fit: as they are, or where one is too long, all with less of what they begin and end with alike."""
    if len(names) < 2 or fits(names, units):
        return [fitted(name, units) for name in names]
    head = len(commonprefix(list(names)))
    tail = len(commonprefix([name[head:][::-1] for name in names]))
    room = int(units / LETTER) - max(len(name) for name in names) + head + tail - 2
    kept = min(head, max(0, room))
    begin = names[0][:kept] + ("…" if kept < head else "")
    return [fitted(f"{begin}{name[head : len(name) - tail]}{'…' if tail else ''}", units) for name in names]


def fitted(name: str, units: float) -> str:
    """A name, its middle left out where it takes more than so many units."""
    room = max(3, int(units / LETTER))
    if len(name) <= room:
        return name
    head = (room - 1) // 2
    return f"{name[:head]}…{name[len(name) - (room - 1 - head) :]}"


def colour(number: int) -> str:
    """The class of a series' colour."""
    return f"s{number % COLOURS}"


def dash(number: int) -> str | None:
    """The dash pattern of a series; with colour and marker it tells 140 series apart."""
    return DASHES[number % len(DASHES)] or None


def marker(number: int, x: float, y: float, title: str | None = None, size: float = 3.4) -> Markup:
    """The marker of a series at a point; a title is shown where the pointer rests on it."""
    told = tag("title", title) if title else None
    shape, around = MARKERS[number % len(MARKERS)], f"{colour(number)} dot"
    if shape == "circle":
        return tag("circle", told, cx=round(x, 1), cy=round(y, 1), r=size, class_=around)
    reach = size * 1.25
    outline = {
        "square": ((-0.8, -0.8), (0.8, -0.8), (0.8, 0.8), (-0.8, 0.8)),
        "triangle": ((0, -1), (1, 0.8), (-1, 0.8)),
        "diamond": ((0, -1.1), (1.1, 0), (0, 1.1), (-1.1, 0)),
        "cross": (
            (-1, -0.3),
            (-0.3, -0.3),
            (-0.3, -1),
            (0.3, -1),
            (0.3, -0.3),
            (1, -0.3),
            (1, 0.3),
            (0.3, 0.3),
            (0.3, 1),
            (-0.3, 1),
            (-0.3, 0.3),
            (-1, 0.3),
        ),
    }[shape]
    points = " ".join(f"{x + dx * reach:.1f},{y + dy * reach:.1f}" for dx, dy in outline)
    return tag("polygon", told, points=points, class_=around)
