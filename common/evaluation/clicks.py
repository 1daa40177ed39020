"""How well clicks are told beforehand: AUC over all rows and user by user, log-loss, and what a cut at 0.5 gives.

Logits go in, so that neither a probability of exactly 0 or 1 nor its rounding can matter. Precision, recall and F1 are
those of the two classes weighted by how often each occurs, as the papers on these data sets report them; weighted recall
is then the accuracy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata
from sklearn.metrics import precision_recall_fscore_support

from common.errors import DataError

CLICK_METRICS = ("auc", "user_auc", "logloss", "precision", "recall", "f1")


def click_metrics(clicks: ArrayLike, logits: ArrayLike, users: ArrayLike) -> dict[str, float | int | None]:
    """All metrics of one set of rows.

    Parameters
    ----------
    clicks : ArrayLike
        [n], 1 or 0.
    logits : ArrayLike
        [n], finite; a click is foretold from 0 up (probability 0.5).
    users : ArrayLike
        int [n], whose row each is.

    Returns
    -------
    :data:`CLICK_METRICS`, with ``rows``, ``users`` and ``judged_users`` (those with both classes, whom ``user_auc`` is the
    mean over). ``auc`` is None where only one class is there, ``user_auc`` where no user has both.

    Raises
    ------
    DataError : lengths that differ, no rows, NaN or infinite logits, or clicks other than 0 and 1.
    """
    y, scores, owners = _rows(clicks, logits, users)
    precision, recall, f1, _ = precision_recall_fscore_support(y, scores >= 0, average="weighted", zero_division=0.0)
    each = user_auc(y, scores, owners)
    return {
        "auc": auc(y, scores),
        "user_auc": float(np.mean(list(each.values()))) if each else None,
        "logloss": float(np.mean(np.logaddexp(0.0, scores) - y * scores)),
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
        "rows": len(y),
        "users": len(np.unique(owners)),
        "judged_users": len(each),
    }


def auc(clicks: NDArray[np.int64], logits: NDArray[np.float64]) -> float | None:
    """The share of (click, no click) pairs in the right order, ties as half; None where there is no pair."""
    positives = int(clicks.sum())
    negatives = len(clicks) - positives
    if not (positives and negatives):
        return None
    above = rankdata(logits)[clicks == 1].sum() - positives * (positives + 1) / 2
    return float(above / positives / negatives)


def user_auc(clicks: ArrayLike, logits: ArrayLike, users: ArrayLike) -> dict[int, float]:
    """The AUC of each user who has both classes, by the user's number."""
    y, scores, owners = _rows(clicks, logits, users)
    order = np.argsort(owners, kind="stable")
    numbers, starts = np.unique(owners[order], return_index=True)
    parts = zip(np.split(y[order], starts[1:]), np.split(scores[order], starts[1:]), strict=True)
    values = {int(user): auc(*part) for user, part in zip(numbers, parts, strict=True)}
    return {user: value for user, value in values.items() if value is not None}


def _rows(
    clicks: ArrayLike, logits: ArrayLike, users: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[Any]]:
    y, scores, owners = np.asarray(clicks), np.asarray(logits, dtype=np.float64), np.asarray(users)
    if y.ndim != 1 or not y.shape == scores.shape == owners.shape:
        raise DataError(f"clicks, logits and users are {y.shape!r}, {scores.shape!r} and {owners.shape!r}", "[n] each")
    if not len(y):
        raise DataError("no rows to evaluate", "evaluate at least one")
    if not np.isfinite(scores).all():
        raise DataError("logits hold NaN or infinities", "look for a diverged model or a division by zero")
    if not np.isin(y, (0, 1)).all():
        raise DataError(f"clicks hold {np.setdiff1d(y, (0, 1))[:5].tolist()!r}", "a click is 0 or 1")
    return y.astype(np.int64), scores, owners
