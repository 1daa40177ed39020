"""Moments as people write them: seconds, milliseconds, microseconds, nanoseconds, ISO 8601."""

from __future__ import annotations

import math
from datetime import UTC, datetime

UNITS = ("seconds", "milliseconds", "microseconds", "nanoseconds")
DATES = "dates"

_LAST_SECOND = 100_000_000_000  # the year 5138; greater numbers are of a finer unit


def moment(text: str) -> tuple[int, str]:
    """Seconds since 1970, rounded down, and the unit they were written in; dates are UTC unless they say otherwise.

    A number is taken for the coarsest unit in which it is before the year 5138. Raises ValueError for what is no time.
    """
    try:
        number = float(text)
    except ValueError:
        date = datetime.fromisoformat(text.strip())
        return math.floor((date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()), DATES
    if not math.isfinite(number):
        raise ValueError(text)
    for unit in UNITS:
        if abs(number) <= _LAST_SECOND:
            return math.floor(number), unit
        number /= 1000
    raise ValueError(text)
