from __future__ import annotations

import math

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss, precision_recall_fscore_support, roc_auc_score

from common.errors import DataError
from common.evaluation.clicks import click_metrics, user_auc

PROPERTY = hypothesis.settings(deadline=None, max_examples=60)
ROWS = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from([-12.0, -2.0, -0.5, 0.0, 0.25, 3.0, 12.0]), st.integers(0, 4)),
    min_size=1,
    max_size=50,
)


def columns(rows: list[tuple[int, float, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    clicks, logits, users = zip(*rows, strict=True)
    return np.array(clicks), np.array(logits), np.array(users)


@PROPERTY
@given(ROWS)
def test_all_metrics_are_scikit_learns(rows: list) -> None:
    clicks, logits, users = columns(rows)
    found = click_metrics(clicks, logits, users)
    chances = 1 / (1 + np.exp(-logits))
    assert found["logloss"] == pytest.approx(log_loss(clicks, chances, labels=[0, 1]), rel=1e-6, abs=1e-9)
    expected = precision_recall_fscore_support(clicks, chances >= 0.5, average="weighted", zero_division=0)[:3]
    assert [found[name] for name in ("precision", "recall", "f1")] == pytest.approx(list(expected))
    both = len(set(clicks)) == 2
    assert (found["auc"] is not None) == both
    if both:
        assert found["auc"] == pytest.approx(roc_auc_score(clicks, logits))


@PROPERTY
@given(ROWS)
def test_the_users_auc_is_the_mean_over_those_with_both_classes(rows: list) -> None:
    clicks, logits, users = columns(rows)
    expected = {
        int(user): roc_auc_score(clicks[users == user], logits[users == user])
        for user in np.unique(users)
        if len(set(clicks[users == user])) == 2
    }
    found = click_metrics(clicks, logits, users)
    assert user_auc(clicks, logits, users) == pytest.approx(expected)
    assert found["judged_users"] == len(expected) and found["users"] == len(np.unique(users))
    if expected:
        assert found["user_auc"] == pytest.approx(np.mean(list(expected.values())))
    else:
        assert found["user_auc"] is None


def test_certain_logits_cost_no_infinity() -> None:
    found = click_metrics([1, 0], [-1000.0, 1000.0], [0, 0])
    assert found["logloss"] == 1000.0 and found["auc"] == 0.0


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_a_logit_that_is_not_finite_is_refused(wrong: float) -> None:
    for judge in (click_metrics, user_auc):
        with pytest.raises(DataError, match="NaN or infinities"):
            judge([0, 1], [0.0, wrong], [0, 0])


def test_rows_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match="no rows"):
        click_metrics([], [], [])
    with pytest.raises(DataError, match="each"):
        click_metrics([0, 1], [0.0], [0, 0])
    with pytest.raises(DataError, match=r"\[2\]"):
        click_metrics([0, 2], [0.0, 1.0], [0, 0])
