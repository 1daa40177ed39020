from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.data.dataset import Dataset
from common.data.interactions import Interactions
from common.data.partitioners import partition
from common.data.sample import generate
from common.data.split import SPLITS, Part, split
from common.errors import ConfigError, DataError
from tests.common.data.strategies import USERS, dataset, interactions


def _split(known: Dataset, how: str = "leave-last-out") -> Dataset:
    return replace(known, parts=split(known.interactions, how), split=how)


@pytest.fixture(scope="module")
def sample() -> Dataset:
    return _split(generate(users=200, items=240))


@settings(max_examples=40, deadline=None)
@given(
    interactions(),
    st.sampled_from(["kmeans", "dirichlet"]),
    st.integers(1, USERS),
    st.sampled_from(SPLITS),
    st.integers(0, 2),
)
def test_every_user_has_a_client_and_every_client_a_user(
    known: Interactions, how: str, clients: int, times: str, seed: int
) -> None:
    whole = _split(dataset(known), times)
    belongs = partition(whole, how, clients, seed, alpha=0.1)
    assert belongs.shape == (USERS,) and belongs.dtype == np.int32
    assert set(belongs.tolist()) == set(range(clients))
    assert belongs.tolist() == partition(whole, how, clients, seed, alpha=0.1).tolist()


@pytest.mark.parametrize("how", ["kmeans", "dirichlet", "user"])
def test_the_seed_decides(sample: Dataset, how: str) -> None:
    assert partition(sample, how, 5, 1).tolist() == partition(sample, how, 5, 1).tolist()
    assert partition(sample, how, 5, 1).tolist() != partition(sample, how, 5, 2).tolist()


@pytest.mark.parametrize("how", ["kmeans", "dirichlet"])
def test_only_the_train_part_decides(sample: Dataset, how: str) -> None:
    known = sample.interactions
    train = sample.parts == Part.TRAIN
    shuffled = known.items.copy()
    shuffled[~train] = np.random.default_rng(0).integers(len(sample.catalogue), size=(~train).sum())
    other = replace(sample, interactions=Interactions(known.user_keys, known.users, shuffled, known.times))
    assert partition(other, how, 5, 0).tolist() == partition(sample, how, 5, 0).tolist()


def test_kmeans_puts_like_tastes_together_and_a_small_alpha_parts_them(sample: Dataset) -> None:
    by_taste, by_chance = partition(sample, "kmeans", 5, 0), partition(sample, "dirichlet", 5, 0, alpha=1000.0)
    assert _unlikeness(sample, by_taste) > 2 * _unlikeness(sample, by_chance)
    assert _unlikeness(sample, partition(sample, "dirichlet", 5, 0, alpha=0.05)) > 1.5 * _unlikeness(sample, by_chance)


def _unlikeness(known: Dataset, belongs: np.ndarray) -> float:
    """Mean distance (total variation) of the clients' categories from everybody's."""
    names = sorted({item["category"] for item in known.catalogue.items})
    category = np.array([names.index(item["category"]) for item in known.catalogue.items])[known.interactions.items]
    table = np.zeros((belongs.max() + 1, len(names)))
    np.add.at(table, (belongs[known.interactions.users], category), 1)
    shares, everybody = table / table.sum(1, keepdims=True), table.sum(0) / table.sum()
    return float(np.abs(shares - everybody).sum(1).mean() / 2)


def test_one_user_a_client(sample: Dataset) -> None:
    assert partition(sample, "user", 0, 0).tolist() == list(range(sample.users))
    some = partition(sample, "user", 7, 0)
    assert sorted(some[some >= 0].tolist()) == list(range(7))
    assert (np.diff(some[some >= 0]) > 0).all()


def test_the_users_drawn_have_the_most_complete_splits() -> None:
    lengths = (1, 4, 2, 4, 3)
    users = np.repeat(np.arange(5), lengths)
    whole = _split(dataset(Interactions(tuple("abcde"), users, np.arange(len(users)) % 7)))
    for seed in range(5):
        assert np.flatnonzero(partition(whole, "user", 2, seed) >= 0).tolist() == [1, 3]
        assert np.flatnonzero(partition(whole, "user", 3, seed) >= 0).tolist() == [1, 3, 4]


@pytest.mark.parametrize(
    ("how", "clients", "alpha", "said"),
    [
        ("magic", 2, 0.5, "unknown partition 'magic'"),
        ("kmeans", 0, 0.5, "clients is 0"),
        ("user", -1, 0.5, "clients is -1"),
        ("dirichlet", 2, 0.0, "alpha is 0.0"),
        ("dirichlet", 2, float("inf"), "alpha is inf"),
    ],
)
def test_bad_settings_are_refused(sample: Dataset, how: str, clients: int, alpha: float, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        partition(sample, how, clients, 0, alpha)


@pytest.mark.parametrize("how", ["kmeans", "dirichlet", "user"])
def test_more_clients_than_users_and_sets_without_parts_are_refused(sample: Dataset, how: str) -> None:
    with pytest.raises(DataError, match="200 users for 201 clients"):
        partition(sample, how, 201, 0)
    with pytest.raises(DataError, match="no parts yet"):
        partition(replace(sample, parts=None, split=""), how, 2, 0)
