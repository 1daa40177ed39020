"""Numbers as people read them, and whatever a log holds as numbers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

NOTHING = "–"


def real(value: Any) -> float | None:
    """A number, or None for anything else: a log may hold null, text, infinities, or an integer beyond all floats.

    What is beyond 1e300 counts as infinite and what is below 1e-300 as 0, so that spans and steps of axes stay finite.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    if not abs(number) <= 1e300:
        return None
    return number if abs(number) >= 1e-300 else 0.0


def reals(values: Any) -> dict[str, float]:
    """The entries of a mapping whose values are finite numbers; of anything else none."""
    if not isinstance(values, Mapping):
        return {}
    found = {str(name): real(value) for name, value in values.items()}
    return {name: value for name, value in found.items() if value is not None}


def decimal(value: Any, digits: int = 4) -> str:
    """A number with so many digits after the point."""
    number = real(value)
    return NOTHING if number is None else f"{number:.{digits}f}"


def short(value: Any) -> str:
    """A number in three significant digits."""
    number = real(value)
    return NOTHING if number is None else f"{number:.3g}"


def count(value: Any) -> str:
    """A whole number with its thousands apart."""
    number = real(value)
    return NOTHING if number is None else f"{number:,.0f}"


def percent(value: Any) -> str:
    """A share in per cent."""
    number = real(value)
    return NOTHING if number is None else f"{100 * number:.1f} %"


def size(value: Any) -> str:
    """Bytes in the unit that fits."""
    number = real(value)
    if number is None:
        return NOTHING
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(number) < 1024:
            return f"{number:.0f} B" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TiB"


def duration(value: Any) -> str:
    """Seconds in the units that fit."""
    seconds = real(value)
    if seconds is None:
        return NOTHING
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


def moment(value: Any) -> str:
    """Seconds since the epoch as a date and time in UTC."""
    seconds = real(value)
    if seconds is None:
        return NOTHING
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, OSError, ValueError):
        return NOTHING
