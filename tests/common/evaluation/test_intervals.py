"""Intervals against a textbook's figures, and how often they hold the truth."""

from __future__ import annotations

import numpy as np
import pytest

from common.errors import DataError
from common.evaluation.intervals import interval, paired


def test_five_values_by_hand() -> None:
    # mean 3, s = sqrt(2.5), t(.975, 4) = 2.776445
    found = interval([1.0, 2.0, 3.0, 4.0, 5.0])
    half = 2.776445105 * np.sqrt(2.5) / np.sqrt(5)
    assert found.mean == 3.0
    assert found.low == pytest.approx(3 - half) and found.high == pytest.approx(3 + half)


def test_it_holds_the_true_mean_as_often_as_it_says() -> None:
    draws = np.random.default_rng(0).normal(1.0, 2.0, (4000, 5))
    held = np.mean([found.low <= 1.0 <= found.high for found in map(interval, draws.tolist())])
    assert 0.94 < held < 0.96


def test_pairs_take_away_what_seeds_have_in_common() -> None:
    common = np.array([0.5, 0.6, 0.7, 0.8])
    ours, theirs = common + [0.011, 0.009, 0.010, 0.010], common
    assert interval(ours.tolist()).low < interval(theirs.tolist()).mean
    found = paired(ours.tolist(), theirs.tolist())
    assert found.mean == pytest.approx(0.01) and found.low > 0


def test_one_value_has_no_interval() -> None:
    assert interval([0.3]).json() == {"mean": 0.3, "low": None, "high": None}


@pytest.mark.parametrize("values", [[], [1.0, float("nan")], [float("inf")]])
def test_what_has_no_mean_is_refused(values: list[float]) -> None:
    with pytest.raises(DataError, match="empty or not finite"):
        interval(values)


def test_only_equally_many_can_be_paired() -> None:
    with pytest.raises(DataError, match="2 values cannot be paired with 1"):
        paired([1.0, 2.0], [1.0])
