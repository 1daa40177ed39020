"""Train, valid and test of a click log: by time within each user."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from common.data.clicks import ClickLog
from common.data.split import Part
from common.errors import ConfigError, DataError

FRACTIONS = (0.6, 0.2, 0.2)


def split_clicks(log: ClickLog, fractions: tuple[float, float, float] = FRACTIONS) -> ClickLog:
    """The log with parts: each user's earliest rows train, the next valid, the last test.

    Nothing of a later moment is in an earlier part. Rows of one user and moment stay together, in the part that the
    first of them falls into: a feed is handed out in one piece, and the rest of it would tell what came of the page.
    A user with a single moment has train rows only. Raises ConfigError for fractions that are no shares.
    """
    if len(fractions) != 3 or not all(math.isfinite(f) and f > 0 for f in fractions) or abs(sum(fractions) - 1) > 1e-6:
        raise ConfigError(
            f"fractions are {fractions!r}", "give three positive shares (train, valid, test) that add up to 1"
        )
    first = first_of_moment(log)
    counts = np.diff(log.offsets)[log.users]
    place = (np.arange(len(log)) - log.offsets[log.users])[first]
    # a share of a whole count can come out a hair above the count that it stands for
    ends = np.cumsum(fractions)[:2, None] * counts - 1e-6
    return replace(log, parts=(place >= ends).sum(axis=0).astype(np.int8))


def check_testable(log: ClickLog) -> None:
    """Raise DataError where no user of a log would have test rows: as many moments are needed as there are parts, or so."""
    counts = np.diff(log.offsets)
    last = log.offsets[1:][counts > 0] - 1
    place = first_of_moment(log)[last] - log.offsets[:-1][counts > 0]
    if not (place >= sum(FRACTIONS[:2]) * counts[counts > 0] - 1e-6).any():
        raise DataError(
            f"no user of click log {log.name!r} can be tested: nobody has rows of several moments, the last for the test",
            "give longer histories",
        )


def first_of_moment(log: ClickLog) -> NDArray[np.int64]:
    """For each row the first row of the same user and moment, int64 [n]."""
    starts = np.ones(len(log), dtype=bool)
    starts[1:] = (np.diff(log.users) != 0) | (np.diff(log.times) != 0)
    return np.maximum.accumulate(np.where(starts, np.arange(len(log)), 0))


def part_rows(log: ClickLog, part: Part) -> NDArray[np.int64]:
    """The rows of a part, int64; raises DataError where the log is not split."""
    if log.parts is None:
        raise DataError(f"click log {log.name!r} is not split", "split it first")
    return np.flatnonzero(log.parts == part)


def check_leakage(log: ClickLog) -> None:
    """Raise DataError where, within a user, a moment of an earlier part is not before all moments of the later ones."""
    if log.parts is None:
        raise DataError(f"click log {log.name!r} is not split", "split it first")
    same = np.diff(log.users) == 0
    parts, moments = log.parts, np.diff(log.times)
    wrong = same & ((np.diff(parts) < 0) | ((np.diff(parts) > 0) & (moments <= 0)))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise DataError(
            f"click log {log.name!r}: user {log.user_keys[log.users[row]]!r} has a row of part {int(parts[row])!r} at "
            f"{int(log.times[row])!r} and one of part {int(parts[row + 1])!r} at {int(log.times[row + 1])!r}",
            "split it by time within each user",
        )
