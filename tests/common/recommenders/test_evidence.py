"""common/recommenders/evidence.py: the blend, and how its weights are chosen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from common.data.split import Cases
from common.recommenders.evidence import ALONE, Evidence, Weights, choose

USERS, ITEMS = np.array([0, 0, 1, 1, 2, 2, 3]), np.array([0, 1, 0, 1, 0, 2, 0])  # counts 4, 2, 1, 0
HISTORIES = [np.array([1]), np.array([2, 1])]
SCORES = np.array([[0.1, 0.2, 0.3, 0.4], [4.0, 1.0, 2.0, 3.0]])


def standard(rows: np.ndarray) -> np.ndarray:
    return (rows - rows.mean(axis=-1, keepdims=True)) / rows.std(axis=-1, keepdims=True)


def cases(histories: Sequence[int], targets: Sequence[int]) -> Cases:
    seen = [np.array([item]) for item in histories]
    return Cases(np.arange(len(targets)), seen, [np.array([target]) for target in targets], seen)


def crowd() -> tuple[Evidence, np.ndarray]:
    """Sixty users who all met items 0 and 1 of 200, and three others each; and forty histories among the others."""
    rng = np.random.default_rng(0)
    users, items = np.divmod(np.arange(300), 5)
    items = np.where(items < 2, items, rng.integers(2, 200, 300))
    return Evidence("neighbours", users, items, 200, 3), rng.integers(2, 200, 40)


def test_none_and_no_weights_leave_the_scores_as_they_are() -> None:
    evidence = Evidence("none", USERS, ITEMS, 4, 3)
    evidence.fit(lambda histories: pytest.fail("nothing to score"), cases([3], [0]))
    assert evidence.blend(SCORES, HISTORIES) is SCORES and evidence.weights == ALONE
    assert Evidence("neighbours", USERS, ITEMS, 4, 3).blend(SCORES, HISTORIES) is SCORES


def test_popularity_adds_its_weight_in_standard_deviations() -> None:
    evidence = Evidence("popularity", USERS, ITEMS, 4, 3)
    evidence.weights = Weights(popularity=0.5)
    expected = standard(SCORES) + 0.5 * standard(np.log1p([4, 2, 1, 0]))
    np.testing.assert_allclose(evidence.blend(SCORES, HISTORIES), expected, rtol=1e-5)


def test_the_best_neighbour_adds_the_whole_weight_and_strangers_nothing() -> None:
    evidence = Evidence("neighbours", USERS, ITEMS, 4, 3)
    evidence.weights = Weights(neighbours=4.0)
    added = evidence.blend(SCORES, HISTORIES) - standard(SCORES)
    np.testing.assert_allclose(added[0], [4.0, 0.0, 0.0, 0.0], atol=1e-5)
    assert added[1].max() == pytest.approx(4.0) and added[1, 3] == pytest.approx(0.0, abs=1e-6)


def test_only_the_newest_items_of_a_history_have_neighbours() -> None:
    evidence = Evidence("neighbours", USERS, ITEMS, 4, 3)
    evidence.weights = Weights(neighbours=1.0)
    longer, shorter = [np.array([0, 2, 2, 2])], [np.array([2, 2, 2])]
    np.testing.assert_array_equal(evidence.blend(SCORES[:1], longer), evidence.blend(SCORES[:1], shorter))


def test_items_that_all_score_alike_leave_the_order_to_the_evidence() -> None:
    evidence = Evidence("popularity", USERS, ITEMS, 4, 3)
    evidence.weights = Weights(popularity=1.0)
    assert evidence.blend(np.ones((1, 4)), HISTORIES[:1])[0].argsort()[::-1].tolist() == [0, 1, 2, 3]


def test_counts_that_find_the_targets_get_weight() -> None:
    evidence, histories = crowd()
    noise = np.random.default_rng(1).normal(size=(40, 200))
    evidence.fit(lambda given: noise[: len(given)], cases(histories, [case % 2 for case in range(40)]))
    assert evidence.weights.popularity + evidence.weights.neighbours > 0


def test_a_model_that_knows_the_targets_stays_alone() -> None:
    evidence, histories = crowd()
    targets = np.where(histories == 199, 2, histories + 1)

    def sighted(given: Sequence[np.ndarray]) -> np.ndarray:
        return np.eye(200)[[2 if history[-1] == 199 else history[-1] + 1 for history in given]]

    evidence.fit(sighted, cases(histories, targets))
    assert evidence.weights == ALONE


def test_the_largest_mean_gain_that_stands_out_is_chosen() -> None:
    steady, wild = Weights(popularity=0.5), Weights(popularity=2.0)
    values = {ALONE: np.zeros(16), steady: np.linspace(0.1, 0.2, 16), wild: np.array([8.0, -7.0] * 8)}
    assert choose(values) == steady
    assert choose(values | {wild: np.linspace(0.4, 0.5, 16)}) == wild
    assert choose({weights: -found for weights, found in values.items()}) == ALONE


def test_too_few_cases_choose_nothing() -> None:
    assert choose({ALONE: np.zeros(7), Weights(1.0): np.ones(7)}) == ALONE
    assert choose({ALONE: np.zeros(8), Weights(1.0): np.ones(8)}) == Weights(1.0)


def test_without_validation_cases_the_model_stays_alone() -> None:
    evidence = Evidence("neighbours", USERS, ITEMS, 4, 3)
    evidence.fit(lambda histories: pytest.fail("nothing to score"), cases([], []))
    assert evidence.weights == ALONE
