"""Mixing matrices as small maps, a round each: a row takes from the columns.

What a client takes from itself is many times what it takes from any other, so the diagonal is left open (a chart of its own
shows it) and the colours span what lies between two clients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fellrec.report.drawing import WIDTH, distinct, fits, picture, words
from fellrec.report.markup import Markup, tag
from fellrec.report.numbers import short

Matrix = Mapping[str, Mapping[str, float]]
MAPS, CELLS = 12, 45_000
"""Maps at most, and cells of all maps together."""

NAMED = 12
"""Clients up to which cells are numbered and tell their weight."""

LEVELS = 12
NUMBER = 15.0
"""Units of a cell from which each is numbered; of smaller ones every second."""

COLUMNS, GAP = 3, 14.0


@dataclass(frozen=True)
class Shades:
    """How weights between two clients become shades: from ``low`` to ``high``, over all maps."""

    low: float
    high: float

    @classmethod
    def over(cls, matrices: Sequence[Matrix]) -> Shades | None:
        """The span of all weights off the diagonals; None where there are none."""
        off = [weight for matrix in matrices for to, row in matrix.items() for by, weight in row.items() if to != by]
        return cls(min(off), max(off)) if off else None

    def level(self, weight: float) -> int:
        """A weight's shade, 0 to LEVELS; all alike are in the middle."""
        span = self.high - self.low
        if span <= 1e-3 * abs(self.high):
            return LEVELS // 2
        return round((weight - self.low) / span * LEVELS)


def drawable(rounds: Sequence[int], clients: int) -> list[int]:
    """The rounds that are drawn: the first, the last, and evenly between, as many as there is room for; maybe none."""
    room = min(MAPS, CELLS // max(1, clients * clients))
    if len(rounds) <= room:
        return list(rounds)
    if room < 2:
        return list(rounds[-room:]) if room else []
    return [rounds[round(place * (len(rounds) - 1) / (room - 1))] for place in range(room)]


def maps(name: str, title: str, description: str, matrices: Mapping[int, Matrix], clients: Sequence[str]) -> Markup:
    """Small multiples of the matrices by round, with a key to shades and, for few clients, to their numbers."""
    shades = Shades.over(list(matrices.values())) or Shades(0.0, 1.0)
    columns = min(COLUMNS, len(matrices)) if len(clients) <= 30 else min(2, len(matrices))
    margin = 18.0 if len(clients) <= NAMED else 2.0
    side = min(150.0, (WIDTH - GAP * (columns - 1)) / columns - margin) if len(clients) <= 30 else (WIDTH - GAP) / 2 - 2
    panel = side + margin
    height = panel + 24
    drawn = [
        _panel(
            number,
            matrix,
            clients,
            shades,
            (place % columns) * (panel + GAP),
            (place // columns) * height,
            side,
            margin,
        )
        for place, (number, matrix) in enumerate(matrices.items())
    ]
    bottom = -(-len(matrices) // columns) * height
    key, bottom = _key(shades, clients, bottom)
    return picture(name, title, description, bottom, drawn, key)


def _panel(
    number: int, matrix: Matrix, clients: Sequence[str], shades: Shades, x: float, y: float, side: float, margin: float
) -> Markup:
    cell, left, top = side / len(clients), x + margin, y + 16 + margin
    drawn = [words(left, y + 12, f"round {number}", "quiet")]
    if margin > 2:
        step = 1 if cell >= NUMBER else 2
        for i in range(0, len(clients), step):
            drawn.append(words(left + (i + 0.5) * cell, top - 3, f"{i + 1}", "quiet", "middle"))
            drawn.append(words(left - 3, top + (i + 0.5) * cell + 4, f"{i + 1}", "quiet", "end"))
        drawn += [
            tag(
                "rect",
                tag("title", f"round {number}: {to} takes {short(row[by])} from {by}"),
                x=round(left + j * cell, 2),
                y=round(top + i * cell, 2),
                width=round(cell, 2),
                height=round(cell, 2),
                class_="own" if to == by else "cell",
                fill_opacity=None if to == by else _opacity(shades.level(row[by])),
            )
            for i, to in enumerate(clients)
            if (row := matrix.get(to)) is not None
            for j, by in enumerate(clients)
            if by in row
        ]
    else:
        drawn += _shaded(matrix, clients, shades, left, top, cell)
    return tag("g", drawn, tag("rect", x=left, y=top, width=round(side, 2), height=round(side, 2), class_="frame"))


def _shaded(
    matrix: Matrix, clients: Sequence[str], shades: Shades, left: float, top: float, cell: float
) -> list[Markup]:
    """Many cells as one path a shade."""
    paths: dict[int, list[str]] = {}
    for i, to in enumerate(clients):
        row = matrix.get(to, {})
        for j, by in enumerate(clients):
            if to != by and by in row:
                paths.setdefault(shades.level(row[by]), []).append(f"M{j} {i}h1v1h-1z")
    turn = f"translate({left:.2f} {top:.2f}) scale({cell:.4f})"
    return [
        tag("path", d="".join(found), transform=turn, class_="cell", fill_opacity=_opacity(level))
        for level, found in sorted(paths.items())
    ]


def _key(shades: Shades, clients: Sequence[str], top: float) -> tuple[list[Markup], float]:
    drawn, width = [words(0, top + 14, short(shades.low), "quiet")], 10.0
    start = 48.0
    for level in range(LEVELS + 1):
        drawn.append(
            tag(
                "rect",
                x=start + level * width,
                y=top + 5,
                width=width,
                height=11,
                class_="cell",
                fill_opacity=_opacity(level),
            )
        )
    end = start + (LEVELS + 1) * width
    drawn.append(words(end + 6, top + 14, f"{short(shades.high)} from another client", "quiet"))
    bottom = top + 24
    if len(clients) <= NAMED:
        names = [f"{place + 1} {client}" for place, client in enumerate(clients)]
        columns = 2 if fits(names, WIDTH / 2 - 6) else 1
        for place, name in enumerate(distinct(names, WIDTH / columns - 6)):
            x, y = place % columns * (WIDTH / columns), bottom + 14 + place // columns * 16
            drawn.append(words(x, y, name))
        bottom += 6 + -(-len(clients) // columns) * 16
    return drawn, bottom + 6


def _opacity(level: int) -> float:
    return round(0.06 + 0.94 * level / LEVELS, 3)
