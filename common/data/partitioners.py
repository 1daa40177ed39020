"""Which user belongs to which client."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from sklearn.cluster import KMeans
from sklearn.utils.extmath import randomized_svd

from common.data.dataset import Dataset
from common.data.split import Part
from common.errors import ConfigError, DataError

PARTITIONS = ("kmeans", "dirichlet", "user")
_FACTORS = 32


def partition(dataset: Dataset, how: str, clients: int, seed: int, alpha: float = 0.5) -> NDArray[np.int32]:
    """The client of each user, int32 [U]; -1 stands for a user of no client. Every client has at least one user.

    ``kmeans``: users of like taste share a client (FELLRec, arXiv 2402.09959: k-means over the user vectors of a matrix
    factorisation; here of the train part only, and seeded). ``dirichlet``: groups of like taste are spread over the
    clients by a Dirichlet distribution; the smaller ``alpha``, the more the clients differ. ``user``: each client is
    one user; ``clients`` of them drawn from the users with the most complete splits, or all for 0.

    Raises ConfigError for settings out of range, DataError where the set is not split or has too few users.
    """
    check_partition(how, clients, alpha)
    if dataset.parts is None:
        raise DataError(
            f"data set {dataset.name!r} has no parts yet, and clients are found on the train part only",
            "split it first",
        )
    if clients > dataset.users:
        raise DataError(
            f"data set {dataset.name!r} has {dataset.users} users for {clients} clients", "ask for fewer clients"
        )
    if how == "user":
        return _one_user_each(dataset, clients, seed)
    known = np.bincount(dataset.interactions.users[dataset.parts == Part.TRAIN], minlength=dataset.users) > 0
    rng = np.random.default_rng(seed)
    belongs = np.empty(dataset.users, dtype=np.int32)
    if known.any():
        groups = clients if how == "kmeans" else min(4 * clients, int(known.sum()))
        belongs[known] = _tastes(dataset, known, groups, seed)
        if how == "dirichlet":
            belongs[known] = _spread(belongs[known], groups, clients, alpha, rng)
        belongs[~known] = rng.choice(belongs[known], size=(~known).sum())
    else:
        belongs[:] = rng.integers(clients, size=dataset.users)
    return _filled(belongs, clients)


def check_partition(how: str, clients: int, alpha: float) -> None:
    """Raise ConfigError for settings that no data set could be partitioned by."""
    if how not in PARTITIONS:
        raise ConfigError(f"unknown partition {how!r}", f"choose one of {', '.join(PARTITIONS)}")
    if clients < (0 if how == "user" else 1):
        raise ConfigError(f"clients is {clients!r}", "give 1 or more; partition 'user' takes 0 for all users")
    if not (math.isfinite(alpha) and alpha > 0):
        raise ConfigError(f"alpha is {alpha!r}", "give a finite number above 0")


def _tastes(dataset: Dataset, known: NDArray[np.bool_], groups: int, seed: int) -> NDArray[np.int32]:
    """The taste group of each known user: k-means over unit user vectors."""
    train = dataset.parts == Part.TRAIN
    users, items = dataset.interactions.users[train], dataset.interactions.items[train]
    met = csr_matrix((np.ones(len(users)), (users, items)), shape=(dataset.users, len(dataset.catalogue)))
    met.data[:] = 1.0
    met = met[known]
    factors = min(_FACTORS, min(met.shape))
    left, strengths, _ = randomized_svd(met, factors, random_state=seed)
    vectors = left * strengths
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(float).tiny)
    groups = min(groups, len(np.unique(vectors.round(6), axis=0)))
    found: NDArray[np.integer] = KMeans(groups, n_init=10, random_state=seed).fit_predict(vectors)
    return found.astype(np.int32)


def _spread(
    tastes: NDArray[np.int32], groups: int, clients: int, alpha: float, rng: np.random.Generator
) -> NDArray[np.int32]:
    belongs = np.empty_like(tastes)
    for taste in range(groups):
        users = np.flatnonzero(tastes == taste)
        belongs[users] = rng.choice(clients, size=len(users), p=rng.dirichlet(np.full(clients, alpha)))
    return belongs


def _filled(belongs: NDArray[np.int32], clients: int) -> NDArray[np.int32]:
    """Clients that nobody fell to get a user of the largest client."""
    for client in np.setdiff1d(np.arange(clients), belongs):
        largest = np.bincount(belongs, minlength=clients).argmax()
        belongs[np.flatnonzero(belongs == largest)[-1]] = client
    return belongs


def _one_user_each(dataset: Dataset, clients: int, seed: int) -> NDArray[np.int32]:
    users, parts = dataset.interactions.users, dataset.parts
    train, valid, test = (np.bincount(users[parts == part], minlength=dataset.users) for part in Part)
    # Two train interactions make the first training example.
    complete = np.minimum(train, 2) + np.minimum(valid, 1) + np.minimum(test, 1)
    order = np.random.default_rng(seed).permutation(dataset.users)
    order = order[np.argsort(-complete[order], kind="stable")]
    chosen = np.sort(order[: clients or None])
    belongs = np.full(dataset.users, -1, dtype=np.int32)
    belongs[chosen] = np.arange(len(chosen))
    return belongs
