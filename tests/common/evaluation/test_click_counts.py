from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import DataError
from common.evaluation.click_counts import STEPS, ClickCounts, count
from common.evaluation.clicks import click_metrics

ROWS = st.lists(st.tuples(st.integers(0, 1), st.integers(1, STEPS - 1), st.integers(0, 2)), min_size=1, max_size=60)


def logits_of(steps: np.ndarray) -> np.ndarray:
    """Logits in the middle of their step, so that rounding to a step loses nothing."""
    share = (steps + 0.5) / STEPS
    return np.log(share / (1 - share))


@settings(deadline=None)
@given(ROWS)
def test_counts_give_the_metrics_of_the_rows(rows: list[tuple[int, int, int]]) -> None:
    clicks, steps, groups = np.array(rows).T
    logits = logits_of(steps)
    counts = count(clicks, logits, groups, 3)
    expected = click_metrics(clicks, logits, np.zeros(len(clicks)))
    found = counts.of(slice(0, 3))
    for name in found:
        assert found[name] == (None if expected[name] is None else pytest.approx(expected[name], abs=1e-9)), name
    for group in range(3):
        own = groups == group
        part = counts.of(group)
        assert (part is None) == (not own.any())
        if part:
            assert part["logloss"] == pytest.approx(click_metrics(clicks[own], logits[own], groups[own])["logloss"])


@settings(deadline=None)
@given(ROWS, ROWS)
def test_counts_of_two_clients_add_up(first, second) -> None:
    parts = [np.array(rows).T for rows in (first, second)]
    both = np.concatenate(parts, axis=1)
    one, two, all_ = (count(c, logits_of(s), g, 3) for c, s, g in (*parts, both))
    total = one + two
    np.testing.assert_array_equal(total.rows, all_.rows)
    np.testing.assert_allclose(total.loss, all_.loss)


def test_scores_within_a_step_cost_the_auc_next_to_nothing() -> None:
    draw = np.random.default_rng(0)
    logits = draw.normal(size=5000)
    clicks = (draw.random(5000) < 1 / (1 + np.exp(-logits))).astype(int)
    exact = click_metrics(clicks, logits, np.zeros(5000))["auc"]
    assert count(clicks, logits, np.zeros(5000), 1).of(0)["auc"] == pytest.approx(exact, abs=2e-4)


@pytest.mark.parametrize(("clicks", "logits"), [([1], [np.nan]), ([1], [np.inf]), ([2], [0.0])])
def test_nonsense_is_refused(clicks: list, logits: list) -> None:
    with pytest.raises(DataError):
        count(clicks, logits, [0], 1)


def test_extreme_scores_fall_into_the_outer_steps() -> None:
    counts = count([0, 1], [-1e9, 1e9], [0, 0], 1)
    assert counts.rows[0, 0, 0] == 1 and counts.rows[0, 1, STEPS - 1] == 1
    assert ClickCounts(counts.rows, counts.loss).of(0)["auc"] == 1.0


def test_counts_of_no_rows_take_up_others() -> None:
    none, one = count([], [], [], 2), count([1], [0.3], [1], 2)
    none.loss[1] += one.loss[1]
    assert none.loss[1] == one.loss[1] > 0 and none.of(0) is None
