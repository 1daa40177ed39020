from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import ConfigError, DataError
from common.evaluation import baselines
from common.evaluation.baselines import ItemKNN, Popularity

USERS = ["u", "u", "v", "v", "w", "w", "w"]
ITEMS = [0, 1, 0, 1, 0, 2, 2]
"""Users u and v have items 0 and 1, user w has 0 and, twice, 2; nobody has item 3."""


def test_popularity_counts_users():
    scores = Popularity(USERS, ITEMS, n_items=4).scores([[0], []])
    assert scores.tolist() == [[3, 2, 1, 0], [3, 2, 1, 0]]


def test_item_knn_by_hand():
    # Cosines: (0, 1) 2 / sqrt(3 * 2), (0, 2) 1 / sqrt(3), (1, 2) 0
    scores = ItemKNN(USERS, ITEMS, n_items=4, shrinkage=0.0).scores([[0], [1], [1, 2], []])
    near, far = 2 / 6**0.5, 1 / 3**0.5
    expected = [[0, near, far, 0], [near, 0, 0, 0], [near + far, 0, 0, 0], [0, 0, 0, 0]]
    assert np.allclose(scores, expected, atol=1e-6)


def test_shrinkage_distrusts_few_users():
    scores = ItemKNN(USERS, ITEMS, n_items=4, shrinkage=2.0).scores([[0]])
    assert np.allclose(scores, [[0, 2 / (6**0.5 + 2), 1 / (3**0.5 + 2), 0]], atol=1e-6)


def test_only_the_nearest_neighbours_are_kept():
    scores = ItemKNN(USERS, ITEMS, n_items=4, neighbours=1, shrinkage=0.0).scores([[0], [2]])
    assert (scores > 0).tolist() == [[False, True, False, False], [True, False, False, False]]


def test_a_repeated_item_of_a_history_counts_once():
    model = ItemKNN(USERS, ITEMS, n_items=4)
    assert np.array_equal(model.scores([[0, 0, 1]]), model.scores([[1, 0]]))


@given(seed=st.integers(0, 1000), neighbours=st.integers(1, 12), shrinkage=st.sampled_from([0.0, 1.0, 10.0]))
@settings(max_examples=30, deadline=None)
def test_item_knn_is_its_dense_definition(seed, neighbours, shrinkage):
    generator = np.random.default_rng(seed)
    users, items, n_items = generator.integers(0, 15, 60), generator.integers(0, 12, 60), 12
    has = np.zeros((15, n_items))
    has[users, items] = 1
    common = has.T @ has
    lengths = np.sqrt(np.diag(common))
    with np.errstate(invalid="ignore"):
        dense = np.nan_to_num(common / (lengths[:, None] * lengths + shrinkage))
    np.fill_diagonal(dense, 0)
    for row in dense:
        row[np.argsort(-row, kind="stable")[neighbours:]] = 0
    scores = ItemKNN(users, items, n_items, neighbours, shrinkage).scores(
        list(np.eye(n_items, dtype=int) @ np.arange(n_items))
    )
    # Equally near neighbours at the border may differ; their similarities may not.
    assert np.allclose(np.sort(scores, axis=1), np.sort(dense, axis=1), atol=1e-6)


def test_a_block_of_items_at_a_time_gives_the_same(monkeypatch):
    whole = ItemKNN(USERS, ITEMS, n_items=4).scores([[0], [1], [2], [3]])
    monkeypatch.setattr(baselines, "BLOCK", 3)
    assert np.array_equal(ItemKNN(USERS, ITEMS, n_items=4).scores([[0], [1], [2], [3]]), whole)


@pytest.mark.parametrize("model", [Popularity, ItemKNN])
def test_scores_have_one_row_per_history(model):
    trained = model(USERS, ITEMS, 4)
    assert trained.scores([]).shape == (0, 4)
    assert trained.scores([[], [1]]).shape == (2, 4)
    assert trained.scores([[0]]).dtype == np.float32
    assert model([], [], 4).scores([[0]]).tolist() == [[0.0] * 4]


@pytest.mark.parametrize("model", [Popularity, ItemKNN])
def test_bad_interactions_are_refused(model):
    with pytest.raises(DataError, match="do not pair"):
        model([0, 1], [0], 4)
    with pytest.raises(DataError, match="reach from 0 to 4"):
        model([0, 1], [0, 4], 4)


def test_bad_settings_and_histories_are_refused():
    with pytest.raises(ConfigError, match="neighbours 0"):
        ItemKNN(USERS, ITEMS, 4, neighbours=0)
    with pytest.raises(ConfigError, match="shrinkage -1"):
        ItemKNN(USERS, ITEMS, 4, shrinkage=-1.0)
    with pytest.raises(DataError, match="reach from 9"):
        ItemKNN(USERS, ITEMS, 4).scores([[9]])
