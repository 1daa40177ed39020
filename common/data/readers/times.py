"""Moments as people write them: seconds, milliseconds, microseconds, nanoseconds, ISO 8601, YYYYMMDD."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from datetime import UTC, datetime

UNITS = ("seconds", "milliseconds", "microseconds", "nanoseconds")
DATES = "dates"

_LAST_SECOND = 100_000_000_000  # the year 5138; greater numbers are of a finer unit
_DIGITS = re.compile(r"((?:19|20)\d\d)(\d\d)(\d\d)(?:(\d\d)(\d\d)(\d\d)?)?(?:\.0+)?")


def moment(text: str, digits: bool = False) -> tuple[int, str]:
    """Seconds since 1970, rounded down, and the unit they were written in; dates are UTC unless they say otherwise.

    A number is taken for the coarsest unit in which it is before the year 5138, with ``digits`` for a date written
    YYYYMMDD (or YYYYMMDDHHMM, YYYYMMDDHHMMSS). Raises ValueError for what is no time.
    """
    if digits:
        return math.floor(_of_digits(text).timestamp()), DATES
    try:
        number = float(text)
    except ValueError:
        date = _of_iso(text.strip())
        return math.floor((date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()), DATES
    if not math.isfinite(number):
        raise ValueError(text)
    for unit in UNITS:
        if abs(number) <= _LAST_SECOND:
            return math.floor(number), unit
        number /= 1000
    raise ValueError(text)


def written_in_digits(column: Iterable[str], bad: float) -> bool:
    """Whether the numbers of a column are dates like 20240131: all but a share ``bad`` must be days of the calendar.

    A single such number may as well be a moment in 1970. Reads no further than the first value where that is none.
    """
    dates = others = 0
    for text in column:
        try:
            _of_digits(text)
            dates += 1
        except ValueError:
            others += bool(text.strip())
            if not dates:
                return False
    return dates > 0 and others <= bad * (dates + others)


def _of_digits(text: str) -> datetime:
    found = _DIGITS.fullmatch(text.strip())
    if found is None:
        raise ValueError(text)
    year, month, day, hour, minute, second = (int(part or 0) for part in found.groups())
    return datetime(year, month, day, hour, minute, second, tzinfo=UTC)


def _of_iso(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("/", "-").removesuffix(" UTC"))
