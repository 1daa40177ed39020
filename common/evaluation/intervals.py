"""How sure a mean over a few seeds is: intervals by Student's t, paired where two methods ran on the same seeds.

Seeds are few. A percentile bootstrap of five values is too narrow (its quantiles cannot leave the range of the five, and it
divides by n where n - 1 is meant); t assumes that means over seeds are about normal, and knows that they are few.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from scipy import stats

from common.errors import DataError

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean and its two-sided 95 % interval; without one (None) where there is a single value."""

    mean: float
    low: float | None
    high: float | None

    def json(self) -> dict[str, float | None]:
        """As in ``comparison.json``."""
        return asdict(self)


def interval(values: Sequence[float]) -> Interval:
    """Of the mean of independent values.

    Raises
    ------
    DataError : there are none, or one is not finite.
    """
    found = np.asarray(values, dtype=np.float64)
    if not found.size or not np.isfinite(found).all():
        raise DataError(f"values {values!r} are empty or not finite", "leave out what has no value")
    mean = float(found.mean())
    if found.size == 1:
        return Interval(mean, None, None)
    half = float(stats.t.ppf((1 + LEVEL) / 2, found.size - 1) * found.std(ddof=1) / np.sqrt(found.size))
    return Interval(mean, mean - half, mean + half)


def paired(ours: Sequence[float], theirs: Sequence[float]) -> Interval:
    """Of the mean difference ``ours - theirs`` of methods that share their seeds, in the same order.

    Raises
    ------
    DataError : they are not equally many, there are none, or one is not finite.
    """
    if len(ours) != len(theirs):
        raise DataError(f"{len(ours)} values cannot be paired with {len(theirs)}", "pair the same seeds")
    return interval([one - other for one, other in zip(ours, theirs, strict=True)])
