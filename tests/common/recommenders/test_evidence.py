"""common/recommenders/evidence.py: the blend, and how its weights are found."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import log_softmax

from common.data.split import Cases
from common.recommenders.evidence import ALONE, Evidence, Weights

USERS, ITEMS = np.array([0, 0, 1, 1, 2, 2, 3]), np.array([0, 1, 0, 1, 0, 2, 0])  # item 0 is met by four, 1 by two, 2 by one, 3 by none
HISTORIES = [np.array([1]), np.array([2, 1])]
SCORES = np.array([[0.1, 0.2, 0.3, 0.4], [4.0, 1.0, 2.0, 3.0]], dtype=np.float32)


def cases(targets: list[int], seen: int = 3) -> Cases:
    return Cases(
        np.arange(len(targets)), [np.array([seen])] * len(targets), [np.array([t]) for t in targets], [np.array([seen])] * len(targets)
    )


def test_none_leaves_the_scores_as_they_are() -> None:
    evidence = Evidence("none", USERS, ITEMS, 4)
    evidence.fit(lambda histories: SCORES[: len(histories)], cases([0, 1]))
    assert evidence.blend(SCORES, HISTORIES) is SCORES and evidence.weights == Weights(*ALONE)


def test_popularity_adds_its_weight_times_log_counts() -> None:
    evidence = Evidence("popularity", USERS, ITEMS, 4)
    evidence.weights = Weights(0.5, 2.0, 0.0)
    np.testing.assert_allclose(evidence.blend(SCORES, HISTORIES), 0.5 * SCORES + 2 * np.log1p([4, 2, 1, 0]), rtol=1e-6)


def test_the_best_neighbour_gets_the_whole_weight_and_strangers_none() -> None:
    evidence = Evidence("neighbours", USERS, ITEMS, 4)
    evidence.weights = Weights(0.0, 0.0, 3.0)
    blended = evidence.blend(SCORES, HISTORIES)
    assert blended.max(axis=1).tolist() == [3.0, 3.0] and blended[0].argmax() == 0 and (blended[:, 3] == 0).all()


def test_weights_are_at_least_zero_and_never_make_validation_less_likely() -> None:
    random = np.random.default_rng(0)
    scores = random.normal(size=(64, 4)).astype(np.float32)
    judged = cases([int(item) for item in random.choice(3, p=[0.7, 0.2, 0.1], size=64)])
    evidence = Evidence("popularity", USERS, ITEMS, 4)
    evidence.fit(lambda histories: scores[: len(histories)], judged)
    assert evidence.weights.popularity > 0.3 and evidence.weights.model >= 0 and evidence.weights.neighbours == 0

    def likelihood(blended: np.ndarray) -> float:
        logits = np.where(np.arange(4) == 3, -np.inf, blended)
        return float(np.mean([log_softmax(logits, axis=1)[row, t[0]] for row, t in enumerate(judged.targets)]))

    assert likelihood(evidence.blend(scores, judged.histories)) > likelihood(scores)


def test_evidence_against_the_counts_gives_them_no_weight() -> None:
    """The rare item is what people want: counts cannot help, and a weight below zero is not to be had."""
    evidence = Evidence("popularity", USERS, ITEMS, 4)
    evidence.fit(lambda histories: np.zeros((len(histories), 4), dtype=np.float32), cases([2] * 32))
    assert evidence.weights.popularity == pytest.approx(0.0, abs=1e-6)


def test_without_validation_cases_the_model_stays_alone() -> None:
    evidence = Evidence("neighbours", USERS, ITEMS, 4)
    evidence.fit(lambda histories: pytest.fail("nothing to score"), cases([]))
    assert evidence.weights == Weights(*ALONE)
