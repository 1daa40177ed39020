"""Ranking metrics on integer ranks, their weighted mean, and how evenly they fall on clients.

One protocol for every recommender and strategy: each target is ranked among all items of the catalogue but those that
the user has seen, with worst-case ties. Metrics then know ranks only, never scores, so that the scale and sign of a
recommender's scores (probabilities, log-probabilities, negative distances) cannot matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import ceil

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from common.errors import DataError

CUTOFFS = (10, 20)
"""The K of recall@K and ndcg@K."""

METRICS = tuple(f"{metric}@{k}" for metric in ("recall", "ndcg") for k in CUTOFFS)


def ranks(
    scores: NDArray[np.floating] | torch.Tensor, targets: Sequence[ArrayLike], seen: Sequence[ArrayLike]
) -> list[NDArray[np.int64]]:
    """The ranks, from 1, of each user's targets among the items that the user has not seen.

    A target's rank counts every unseen item that scores at least as high, the user's other targets included: a tie
    always counts against it, and a recommender that scores all items alike is the worst of all.

    Parameters
    ----------
    scores : [m, items], higher is better, for a chunk of m users; infinities are fine.
    targets : per user, the item numbers to be found; repeated ones count once.
    seen : per user, the item numbers left out of the ranking (train and validation items); may be empty.

    Returns
    -------
    Per user, the ranks of the distinct targets in the order of their item numbers.

    Raises
    ------
    DataError : NaN among the scores, lengths that differ, an unknown item, a user without targets, or a target that is
        seen.
    """
    table = _as_table(scores)
    if not len(table) == len(targets) == len(seen):
        raise DataError(
            f"{len(table)!r} rows of scores for {len(targets)!r} lists of targets and {len(seen)!r} of seen items",
            "pass one of each per user",
        )
    result = []
    for user, (row, wanted, known) in enumerate(zip(table, targets, seen, strict=True)):
        wanted, known = _items("targets", user, wanted, len(row)), _items("seen", user, known, len(row))
        if not len(wanted):
            raise DataError(f"targets of user {user!r} in the chunk are empty", "leave out users without targets")
        both = np.intersect1d(wanted, known, assume_unique=True)
        if len(both):
            raise DataError(
                f"targets {both.tolist()!r} of user {user!r} in the chunk are among the items seen",
                "leave seen items out of the targets, or targets out of seen",
            )
        row_known = row[known]
        places = [np.count_nonzero(row >= score) - np.count_nonzero(row_known >= score) for score in row[wanted]]
        result.append(np.array(places, dtype=np.int64))
    return result


class RankingMetrics:
    """Recall and NDCG at 10 and 20, gathered chunk by chunk; each user counts the same.

    With a user's T targets, recall@K = (targets ranked up to K) / T, and ndcg@K = sum over those of 1 / log2(1 + rank)
    over the same sum for the ranks 1 to min(K, T).
    """

    def __init__(self) -> None:
        self._values: dict[str, list[float]] = {name: [] for name in METRICS}

    @property
    def users(self) -> int:
        """Users added so far."""
        return len(self._values[METRICS[0]])

    def add(self, ranks: Iterable[ArrayLike]) -> None:
        """Add users by the ranks, from 1, of all their targets.

        Raises
        ------
        DataError : no ranks for a user, or one below 1.
        """
        for user in ranks:
            places = np.asarray(user)
            if places.ndim != 1 or not len(places) or places.min() < 1:
                raise DataError(f"ranks of a user are {places.tolist()!r}", "ranks count from 1, one for each target")
            gains = 1.0 / np.log2(1.0 + places)
            for k in CUTOFFS:
                hit = places <= k
                ideal = (1.0 / np.log2(np.arange(2, min(k, len(places)) + 2))).sum()
                self._values[f"recall@{k}"].append(float(hit.mean()))
                self._values[f"ndcg@{k}"].append(float(gains[hit].sum() / ideal))

    def result(self) -> dict[str, float]:
        """The means over users, by the names in :data:`METRICS`.

        Raises
        ------
        DataError : no user was added.
        """
        if not self.users:
            raise DataError("no user to average the metrics over", "evaluate at least one user with a target")
        return {name: float(np.mean(values)) for name, values in self._values.items()}

    def per_user(self, name: str) -> NDArray[np.float64]:
        """One metric of every user in the order they were added, [users], for paired tests."""
        if name not in self._values:
            raise DataError(f"metric is {name!r}", f"choose one of {METRICS!r}")
        return np.array(self._values[name], dtype=np.float64)


def weighted(metrics: Mapping[str, Mapping[str, float]], weights: Mapping[str, float]) -> dict[str, float]:
    """The mean of each metric over clients, weighted, say by their test users.

    Clients of weight 0 are left out, whatever their metrics.

    Raises
    ------
    DataError : clients, metric names or numbers that do not fit together.
    """
    if metrics.keys() != weights.keys() or not all(0.0 <= weight < float("inf") for weight in weights.values()):
        raise DataError(
            f"weights {dict(weights)!r} for clients {sorted(metrics)!r}", "give each client one finite weight >= 0"
        )
    counted = [client for client, weight in weights.items() if weight > 0]
    if not counted:
        raise DataError("no client has a positive weight", "evaluate at least one client with test users")
    names = list(metrics[counted[0]])
    for client in counted:
        if set(metrics[client]) != set(names) or not np.isfinite(list(metrics[client].values())).all():
            raise DataError(
                f"metrics of client {client!r} are {dict(metrics[client])!r}", f"give finite values of {names!r}"
            )
    total = sum(weights[client] for client in counted)
    return {name: sum(weights[client] * metrics[client][name] for client in counted) / total for name in names}


def balance(values: Mapping[str, float]) -> dict[str, float]:
    """How evenly one metric falls on the clients.

    Returns
    -------
    ``worst``; ``worst_decile``, the mean of the worst tenth of the clients (at least one); ``range``, largest minus
    smallest; ``std``, over the clients as a population; ``jain``, (sum x)^2 / (n sum x^2), 1 where all are equal, zeros
    included.

    Raises
    ------
    DataError : no clients, or a value that is not finite.
    """
    x = np.sort(np.array(list(values.values()), dtype=np.float64))
    if not len(x) or not np.isfinite(x).all():
        raise DataError(f"values of the clients are {dict(values)!r}", "give one finite value for each client")
    energy = len(x) * np.square(x).sum()
    return {
        "worst": float(x[0]),
        "worst_decile": float(x[: ceil(len(x) / 10)].mean()),
        "range": float(x[-1] - x[0]),
        "std": float(x.std()),
        "jain": float(np.square(x.sum()) / energy) if energy > 0 else 1.0,
    }


def _as_table(scores: NDArray[np.floating] | torch.Tensor) -> NDArray[np.floating]:
    if isinstance(scores, torch.Tensor):
        scores = scores.detach().cpu()
        scores = (scores.float() if scores.dtype == torch.bfloat16 else scores).numpy()
    if scores.ndim != 2:
        raise DataError(f"scores have shape {scores.shape!r}", "pass [users, items]")
    if np.isnan(scores).any():
        raise DataError("scores hold NaN", "look for a diverged model or a division by zero")
    return scores


def _items(field: str, user: int, items: ArrayLike, catalogue: int) -> NDArray[np.int64]:
    """The distinct item numbers, ascending."""
    numbers = np.unique(np.asarray(items, dtype=np.int64))
    if len(numbers) and not 0 <= numbers[0] <= numbers[-1] < catalogue:
        raise DataError(
            f"{field} of user {user!r} in the chunk reach from {int(numbers[0])!r} to {int(numbers[-1])!r}",
            f"item numbers lie in [0, {catalogue})",
        )
    return numbers
