"""Train, valid and test: the split in time, the cases it is judged on, the examples it is learned from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from common.data.interactions import Interactions
from common.errors import ConfigError, DataError

SPLITS = ("leave-last-out", "global-time")


class Part(IntEnum):
    """What an interaction is for; ordered in time."""

    TRAIN = 0
    VALID = 1
    TEST = 2


def split(
    interactions: Interactions, how: str, fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)
) -> NDArray[np.int8]:
    """The part of each interaction, int8 [n].

    ``leave-last-out``: a user's last interaction is test, the last but one valid; users with fewer than three are all
    train. ``global-time``: two moments cut the whole history at the quantiles of time that ``fractions`` name;
    what happened in the same second stays together. Raises ConfigError for an unknown split or bad fractions,
    DataError where times are needed and absent.
    """
    check_split(how, fractions)
    return _leave_last_out(interactions) if how == "leave-last-out" else _global_time(interactions, fractions)


def check_split(how: str, fractions: tuple[float, float, float]) -> None:
    """Raise ConfigError for settings that nothing could be split by."""
    if how not in SPLITS:
        raise ConfigError(f"unknown split {how!r}", f"choose one of {', '.join(SPLITS)}")
    if len(fractions) != 3 or not all(math.isfinite(f) and f > 0 for f in fractions) or abs(sum(fractions) - 1) > 1e-6:
        raise ConfigError(
            f"fractions are {fractions!r}", "give three positive shares (train, valid, test) that add up to 1"
        )


def _leave_last_out(interactions: Interactions) -> NDArray[np.int8]:
    parts = np.full(len(interactions), Part.TRAIN, dtype=np.int8)
    ends = interactions.offsets[1:][np.diff(interactions.offsets) >= 3]
    parts[ends - 1] = Part.TEST
    parts[ends - 2] = Part.VALID
    return parts


def _global_time(interactions: Interactions, fractions: tuple[float, float, float]) -> NDArray[np.int8]:
    times = interactions.times
    if times is None:
        raise DataError(
            "split 'global-time' needs times, and these interactions have only an order", "use 'leave-last-out'"
        )
    if not len(times):
        return np.zeros(0, dtype=np.int8)
    cuts = np.quantile(times, [fractions[0], fractions[0] + fractions[1]], method="inverted_cdf")
    return np.searchsorted(cuts, times, side="left").astype(np.int8)


@dataclass(frozen=True, eq=False)
class Cases:
    """What one part is judged on: per user a history, the items to find, and the items that are masked.

    Parameters
    ----------
    users : int32 [m], positions of the users.
    histories : per case int32, everything of the user before the part, in the order of time; never empty.
    targets : per case int32, the part's items that the user had not met before, each once; never empty.
    seen : per case int32, sorted: the items of the earlier parts, left out of the ranking.
    dropped : how many users of the part make no case: no history, or nothing new to find.
    """

    users: NDArray[np.int32]
    histories: list[NDArray[np.int32]]
    targets: list[NDArray[np.int32]]
    seen: list[NDArray[np.int32]]
    dropped: int = 0

    def __len__(self) -> int:
        return len(self.users)


def cases(interactions: Interactions, parts: NDArray[np.int8], part: Part, limit: int = 0, seed: int = 0) -> Cases:
    """The evaluation cases of ``part`` (valid or test); with ``limit`` above 0 those of a seeded sample of users."""
    if part == Part.TRAIN:
        raise ConfigError("cases are for the parts valid and test, not train", "take training_examples")
    _check_parts(interactions, parts)
    _check_limit(limit)
    users, items = interactions.users, interactions.items
    before, fresh = parts < part, new_items(interactions, parts, part)
    candidates = np.intersect1d(users[fresh], users[before])
    dropped = len(np.unique(users[parts == part])) - len(candidates)
    chosen = _sample(candidates, limit, seed)
    rows = [interactions.of_user(user) for user in chosen]
    histories = [items[r][before[r]] for r in rows]
    return Cases(
        users=chosen.astype(np.int32),
        histories=histories,
        targets=[items[r][fresh[r]] for r in rows],
        seen=[np.unique(history) for history in histories],
        dropped=dropped,
    )


def new_items(interactions: Interactions, parts: NDArray[np.int8], part: Part) -> NDArray[np.bool_]:
    """bool [n]: the interactions of ``part`` with an item that the user had not met in an earlier part; each item once."""
    users, items = interactions.users, interactions.items
    pairs = users.astype(np.int64) * (int(items.max(initial=0)) + 1) + items
    later = np.flatnonzero(parts == part)
    _, first = np.unique(pairs[later], return_index=True)
    new = later[np.sort(first)]
    fresh = np.zeros(len(parts), dtype=bool)
    fresh[new[~np.isin(pairs[new], pairs[parts < part])]] = True
    return fresh


@dataclass(frozen=True, eq=False)
class TrainingExamples:
    """Next-item examples from the train part.

    Parameters
    ----------
    users : int32 [m], positions of the users.
    histories : per example int32, earlier train items in the order of time, without the target; never empty.
    targets : int32 [m].
    """

    users: NDArray[np.int32]
    histories: list[NDArray[np.int32]]
    targets: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.users)


def training_examples(
    interactions: Interactions, parts: NDArray[np.int8], history: int, limit: int = 0, seed: int = 0
) -> TrainingExamples:
    """One example for each train interaction that has an earlier one; with ``limit`` above 0 a seeded sample of them.

    Histories hold the last ``history`` items at most, and are built for the chosen examples only.
    """
    if history < 1:
        raise ConfigError(f"history is {history!r}", "give 1 or more items")
    _check_parts(interactions, parts)
    _check_limit(limit)
    train = np.flatnonzero(parts == Part.TRAIN)
    users, items = interactions.users[train], interactions.items[train]
    starts = np.searchsorted(users, users, side="left")
    candidates = np.flatnonzero(np.arange(len(train)) > starts)
    wanted = limit or len(candidates)
    order = np.random.default_rng(seed).permutation(candidates) if limit else candidates
    chosen: dict[int, NDArray[np.int32]] = {}
    for row in order:
        if len(chosen) == wanted:
            break
        earlier = items[starts[row] : row]
        earlier = earlier[earlier != items[row]][-history:]
        if len(earlier):
            chosen[int(row)] = earlier
    rows = np.array(sorted(chosen), dtype=np.int64)
    return TrainingExamples(users[rows], [chosen[int(row)] for row in rows], items[rows])


def _sample(values: NDArray[np.int32], limit: int, seed: int) -> NDArray[np.int32]:
    if not limit or limit >= len(values):
        return values
    return np.sort(np.random.default_rng(seed).choice(values, size=limit, replace=False))


def _check_parts(interactions: Interactions, parts: NDArray[np.int8]) -> None:
    if parts.shape != (len(interactions),):
        raise DataError(f"parts have shape {parts.shape}, there are {len(interactions)} interactions")


def _check_limit(limit: int) -> None:
    if limit < 0:
        raise ConfigError(f"limit is {limit!r}", "give 0 for all, or the number to sample")
