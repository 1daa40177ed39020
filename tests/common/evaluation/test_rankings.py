from __future__ import annotations

import ir_measures
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_measures import R, nDCG

from common.errors import DataError
from common.evaluation.rankings import METRICS, RankingMetrics, balance, ranks, weighted


def as_lists(result):
    return [user.tolist() for user in result]


def test_ranks_by_hand():
    scores = np.array([[0.9, 0.1, 0.5, 0.7, 0.3]])
    assert as_lists(ranks(scores, [[2]], [[]])) == [[3]]
    assert as_lists(ranks(scores, [[2]], [[0, 4]])) == [[2]]
    assert as_lists(ranks(scores, [[4, 0]], [[3]])) == [[1, 3]]


def test_ties_count_against_the_target_and_seen_ones_do_not():
    scores = np.array([[1.0, 1.0, 1.0, 0.0]])
    assert as_lists(ranks(scores, [[0]], [[]])) == [[3]]
    assert as_lists(ranks(scores, [[0]], [[1]])) == [[2]]
    assert as_lists(ranks(scores, [[0, 1]], [[]])) == [[3, 3]]
    assert as_lists(ranks(np.zeros((1, 50)), [[7]], [[1, 1, 2]])) == [[48]]


def test_infinities_rank_like_any_score():
    scores = np.array([[-np.inf, -1.0, -np.inf, np.inf]])
    assert as_lists(ranks(scores, [[0]], [[2]])) == [[3]]
    assert as_lists(ranks(scores, [[0]], [[]])) == [[4]]


def test_repeated_targets_count_once():
    assert as_lists(ranks(np.array([[0.9, 0.1]]), [[1, 1, 0]], [[]])) == [[1, 2]]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_tensors_of_any_float_type(dtype):
    scores = torch.tensor([[0.25, 0.5, 1.0]], dtype=dtype, requires_grad=True)
    assert as_lists(ranks(scores, [torch.tensor([1])], [np.array([], dtype=np.int64)])) == [[2]]


@pytest.mark.parametrize(
    ("scores", "targets", "seen", "message"),
    [
        ([[1.0, np.nan]], [[0]], [[]], "NaN"),
        ([[1.0, 2.0]], [[0]], [[0, 1]], r"targets \[0\] of user 0 .* among the items seen"),
        ([[1.0, 2.0]], [[]], [[]], "targets of user 0 in the chunk are empty"),
        ([[1.0, 2.0]], [[2]], [[]], "targets of user 0 in the chunk reach from 2 to 2"),
        ([[1.0, 2.0]], [[0]], [[-1]], "seen of user 0 in the chunk reach from -1"),
        ([[1.0, 2.0]], [[0], [1]], [[]], "1 rows of scores for 2 lists"),
        ([1.0, 2.0], [[0]], [[]], "shape"),
    ],
)
def test_ranks_refuse_bad_input(scores, targets, seen, message):
    with pytest.raises(DataError, match=message):
        ranks(np.array(scores), targets, seen)


def test_metrics_by_hand():
    metrics = RankingMetrics()
    metrics.add([[1, 3, 15], [30]])
    per_user = {name: metrics.per_user(name).tolist() for name in METRICS}
    assert per_user["recall@10"] == [pytest.approx(2 / 3), 0.0]
    assert per_user["recall@20"] == [1.0, 0.0]
    # Gains 1 / log2(1 + rank): 1, 1/2 and 1/4; ideal 1 + 1/log2(3) + 1/2
    ideal = 1 + 1 / np.log2(3) + 0.5
    assert per_user["ndcg@10"] == [pytest.approx(1.5 / ideal), 0.0]
    assert per_user["ndcg@20"] == [pytest.approx(1.75 / ideal), 0.0]
    assert metrics.result()["recall@10"] == pytest.approx(1 / 3)
    assert metrics.users == 2


def test_the_ideal_stops_at_k_and_recall_does_not():
    metrics = RankingMetrics()
    metrics.add([np.arange(1, 41)])
    result = metrics.result()
    assert result["ndcg@10"] == pytest.approx(1.0) and result["ndcg@20"] == pytest.approx(1.0)
    assert result["recall@10"] == pytest.approx(0.25) and result["recall@20"] == pytest.approx(0.5)


@given(seed=st.integers(0, 10_000), sign=st.sampled_from([1.0, -1.0]), offset=st.sampled_from([0.0, -1e3]))
@settings(max_examples=20, deadline=None)
def test_metrics_agree_with_ir_measures_whatever_the_sign_of_the_scores(seed, sign, offset):
    generator = np.random.default_rng(seed)
    users, items = 5, 60
    scores = sign * np.stack([generator.permutation(items) for _ in range(users)]).astype(float) + offset
    drawn = [generator.permutation(items) for _ in range(users)]
    targets = [row[: generator.integers(1, 30)] for row in drawn]
    seen = [row[30 : 30 + generator.integers(0, 20)] for row in drawn]
    ours = RankingMetrics()
    for chunk in (slice(0, 2), slice(2, users)):
        ours.add(ranks(scores[chunk], targets[chunk], seen[chunk]))
    qrels = [ir_measures.Qrel(str(u), str(i), 1) for u in range(users) for i in targets[u]]
    run = [
        ir_measures.ScoredDoc(str(u), str(i), scores[u, i])
        for u in range(users)
        for i in range(items)
        if i not in seen[u]
    ]
    measures = {"recall@10": R @ 10, "recall@20": R @ 20, "ndcg@10": nDCG @ 10, "ndcg@20": nDCG @ 20}
    theirs = ir_measures.calc_aggregate(list(measures.values()), qrels, run)
    for name, measure in measures.items():
        assert ours.result()[name] == pytest.approx(theirs[measure], abs=1e-9)


def test_metrics_refuse_bad_ranks_and_empty_results():
    metrics = RankingMetrics()
    for bad in ([[]], [[0]], [[1, -2]]):
        with pytest.raises(DataError, match="ranks of a user"):
            metrics.add(bad)
    with pytest.raises(DataError, match="no user"):
        metrics.result()
    with pytest.raises(DataError, match="'map'"):
        metrics.per_user("map")


def test_weighted_by_hand():
    metrics = {"a": {"recall@10": 0.1, "ndcg@10": 1.0}, "b": {"recall@10": 0.4, "ndcg@10": 0.0}}
    assert weighted(metrics, {"a": 2, "b": 1}) == {"recall@10": pytest.approx(0.2), "ndcg@10": pytest.approx(2 / 3)}


def test_weighted_leaves_out_clients_without_weight():
    assert weighted({"a": {"x": 0.5}, "b": {"x": float("nan")}}, {"a": 3, "b": 0}) == {"x": 0.5}


@pytest.mark.parametrize(
    ("metrics", "weights"),
    [
        ({"a": {"x": 1.0}}, {"b": 1}),
        ({"a": {"x": 1.0}}, {"a": -1}),
        ({"a": {"x": 1.0}}, {"a": 0}),
        ({"a": {"x": float("nan")}}, {"a": 1}),
        ({"a": {"x": 1.0}, "b": {"y": 1.0}}, {"a": 1, "b": 1}),
        ({}, {}),
    ],
)
def test_weighted_refuses_what_does_not_fit(metrics, weights):
    with pytest.raises(DataError, match="client"):
        weighted(metrics, weights)


def test_balance_by_hand():
    result = balance({"a": 0.1, "b": 0.2, "c": 0.3})
    assert result == {
        "worst": pytest.approx(0.1),
        "worst_decile": pytest.approx(0.1),
        "range": pytest.approx(0.2),
        "std": pytest.approx((2 / 3) ** 0.5 * 0.1),
        "jain": pytest.approx(0.36 / (3 * 0.14)),
    }


def test_balance_takes_the_worst_tenth_of_many_clients():
    assert balance({str(i): float(i) for i in range(11)})["worst_decile"] == 0.5


def test_balance_of_equal_clients():
    for value in (0.0, 0.3):
        result = balance(dict.fromkeys("abc", value))
        assert result["jain"] == pytest.approx(1.0) and result["range"] == 0.0


@pytest.mark.parametrize("values", [{}, {"a": float("nan")}])
def test_balance_refuses_bad_values(values):
    with pytest.raises(DataError, match="values of the clients"):
        balance(values)
