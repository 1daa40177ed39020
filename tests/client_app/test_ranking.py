"""client_app/ranking.py: full ranking by chunks, and the likelihood beside it."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from client_app.ranking import judge, likelihoods, rank, summary
from common.data.split import Cases
from common.evaluation.rankings import METRICS, RankingMetrics
from common.recommenders.encoder.recommender import EncoderRecommender

SCORES = np.random.default_rng(0).normal(size=(3, 5))
CASES = Cases(np.arange(3), [np.array([0])] * 3, [np.array([1]), np.array([2, 4]), np.array([3])], [np.array([0])] * 3)


def by_chunks(batch: int):
    chunks = iter(np.split(SCORES, range(batch, 3, batch)))
    return lambda histories: next(chunks)


class Fixed(EncoderRecommender):
    """Scores that stand in a table, by the order of the calls."""

    def __init__(self, batch: int) -> None:
        torch.nn.Module.__init__(self)
        self._score = by_chunks(batch)

    def scores(self, histories, texts, item_matrix):
        return torch.from_numpy(self._score(histories))


SHELF = SimpleNamespace(texts=None, items=None)


@pytest.mark.parametrize("batch", [1, 2, 3, 8])
def test_chunks_change_nothing(batch: int) -> None:
    metrics, found = judge(Fixed(batch), SHELF, CASES, batch)
    whole, _ = judge(Fixed(8), SHELF, CASES, 8)
    assert metrics.result() == whole.result() and metrics.users == 3
    logs = log_softmax(SCORES, axis=1)
    np.testing.assert_allclose(found, [logs[0, 1], (logs[1, 2] + logs[1, 4]) / 2, logs[2, 3]])
    np.testing.assert_array_equal(found, likelihoods(Fixed(batch), SHELF, CASES, batch))


def test_ranks_are_those_among_unseen_items() -> None:
    expected = []
    for row, case in enumerate(CASES.targets):
        order = [item for item in np.argsort(-SCORES[row]) if item != 0]
        expected.append(np.mean([1 / np.log2(2 + order.index(t)) for t in case]) if len(case) == 1 else None)
    found = rank(by_chunks(8), CASES, 8).per_user("ndcg@10")
    assert found[0] == pytest.approx(expected[0]) and found[2] == pytest.approx(expected[2])


def test_nobody_to_rank_for_is_zero_users_not_an_error() -> None:
    found = summary("a", RankingMetrics(), 0)
    assert found.of("a") == dict.fromkeys((*METRICS, "users"), 0) and found.means() == {}
