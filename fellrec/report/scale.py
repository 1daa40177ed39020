"""Linear axes: round ticks, and where a value lies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """Maps [low, high] onto [start, end] in pixels; ``ticks`` are round numbers from low to high."""

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]

    def label(self, tick: float) -> str:
        """A tick in as many digits as tell it from the next."""
        step = self.ticks[1] - self.ticks[0] if len(self.ticks) > 1 else 1.0
        digits = max(0, math.ceil(-math.log10(step) - 1e-9))
        return f"{tick:.{digits}f}" if digits <= 6 and abs(tick) < 1e6 else f"{tick:.4g}"

    def __call__(self, value: float) -> float:
        """The pixel of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def rounded(values: Sequence[float], start: float, end: float, zero: bool = False, ticks: int = 4) -> Scale:
    """A scale that takes in all values and begins and ends at a tick; with ``zero`` it takes in 0."""
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    low, high = (min(low, 0.0), max(high, 0.0)) if zero else (low, high)
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        low, high = (
            (low, low + (abs(low) or 1.0)) if zero else (low - (abs(low) or 1.0) / 2, high + (abs(high) or 1.0) / 2)
        )
    step = _step((high - low) / ticks)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    marks = tuple(place * step for place in range(first, last + 1))
    return Scale(marks[0], marks[-1], start, end, marks)


def whole(values: Sequence[float], start: float, end: float, ticks: int = 8) -> Scale:
    """A scale for whole numbers such as rounds, with ticks at whole numbers only."""
    low, high = (math.floor(min(values)), math.ceil(max(values))) if values else (0, 1)
    step = max(1, round(_step((high - low) / ticks))) if high > low else 1
    marks = tuple(float(mark) for mark in range(low, high + 1, step))
    # one round alone stands in the middle
    return Scale(low, high, start, end, marks) if high > low else Scale(low - 1, low + 1, start, end, marks)


def _step(rough: float) -> float:
    unit = 10.0 ** math.floor(math.log10(rough)) if rough > 0 else 1.0
    return next((factor * unit for factor in (1, 2, 5) if factor * unit >= rough * (1 - 1e-9)), 10 * unit)
