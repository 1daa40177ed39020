"""Click metrics from counts alone, so that many clients' rows are judged together and no row leaves its client.

A client counts its rows by what was clicked and by the step of the foretold probability, of which there are
:data:`STEPS`. Counts add up over clients. The AUC of added counts is the pooled AUC with scores rounded to a step, pairs
within a step as half; all else is exact. The cut at probability 0.5 lies between two steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from common.errors import DataError

STEPS = 4096


@dataclass(frozen=True, eq=False)
class ClickCounts:
    """Rows by group, click (0, 1) and step, int64 [groups, 2, STEPS], and the log-loss summed by group, float64 [groups]."""

    rows: NDArray[np.int64]
    loss: NDArray[np.float64]

    def __add__(self, other: ClickCounts) -> ClickCounts:
        return ClickCounts(self.rows + other.rows, self.loss + other.loss)

    def of(self, groups: slice | int) -> dict[str, float | int | None] | None:
        """:func:`metrics_of` these groups' rows together; None where they have none."""
        chosen = np.atleast_1d(np.arange(len(self.rows))[groups])
        rows = self.rows[chosen].sum(axis=0)
        return metrics_of(rows, float(self.loss[chosen].sum())) if rows.any() else None


def count(clicks: ArrayLike, logits: ArrayLike, groups: ArrayLike, size: int) -> ClickCounts:
    """Counts of rows; ``groups`` int [n] in [0, size).

    Raises DataError for logits that are not finite, or clicks other than 0 and 1.
    """
    y, scores, own = np.asarray(clicks), np.asarray(logits, dtype=np.float64), np.asarray(groups, dtype=np.int64)
    if not np.isfinite(scores).all():
        raise DataError("logits hold NaN or infinities", "lower the learning rates")
    if not np.isin(y, (0, 1)).all():
        raise DataError(f"clicks hold {np.setdiff1d(y, (0, 1))[:5].tolist()!r}", "a click is 0 or 1")
    y = y.astype(np.int64)
    steps = np.minimum((expit(scores) * STEPS).astype(np.int64), STEPS - 1)
    places = (own * 2 + y) * STEPS + steps
    rows = np.bincount(places, minlength=size * 2 * STEPS).reshape(size, 2, STEPS)
    # of no rows numpy makes integers, whatever the weights are
    loss = np.bincount(own, weights=np.logaddexp(0.0, scores) - y * scores, minlength=size)
    return ClickCounts(rows, loss.astype(np.float64))


def metrics_of(rows: NDArray[np.int64], loss: float) -> dict[str, float | int | None]:
    """The metrics of :mod:`common.evaluation.clicks` from counts [2, STEPS], one or more, and their summed log-loss.

    ``auc`` is None where only one class is there. There is no ``user_auc``: counts know no users.
    """
    total = int(rows.sum())
    skips, clicks = rows.sum(axis=1)
    below = np.cumsum(rows[0]) - rows[0] / 2
    foretold = rows[:, STEPS // 2 :].sum(axis=1)
    # the two classes, each with (true positives, foretold, there)
    classes = ((total - clicks - foretold[0], total - foretold.sum(), skips), (foretold[1], foretold.sum(), clicks))
    precision = recall = f1 = 0.0
    for hits, said, there in classes:
        share = float(there / total)
        precision += share * float(hits / said) if said else 0.0
        recall += share * float(hits / there) if there else 0.0
        f1 += share * float(2 * hits / (said + there)) if said + there else 0.0
    return {
        "auc": float((rows[1] * below).sum() / clicks / skips) if clicks and skips else None,
        "logloss": loss / total,
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "rows": total,
    }
