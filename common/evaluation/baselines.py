"""Recommenders that need no training: popularity, and neighbouring items.

They see one client's train interactions only, as its model does, and answer in the same shape: scores over the
catalogue for a chunk of histories, higher is better.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from common.errors import ConfigError, DataError

Histories = Sequence[ArrayLike]

BLOCK = 512
"""Rows of the item-to-item table that are worked out at once."""

_NOTHING = np.empty(0, dtype=np.int64)


class Popularity:
    """An item scores by the number of users who have it.

    Parameters
    ----------
    users, items : ArrayLike
        The train interactions, [interactions] each; repeated ones count once.
    n_items : int
        Size of the catalogue.
    """

    def __init__(self, users: ArrayLike, items: ArrayLike, n_items: int) -> None:
        self._counts = np.asarray(_interactions(users, items, n_items).sum(axis=0), dtype=np.float32).reshape(-1)

    def scores(self, histories: Histories) -> NDArray[np.float32]:
        """The same scores for every history, [m, n_items]."""
        return np.tile(self._counts, (len(histories), 1))


class ItemKNN:
    """An item scores by its similarity to the items of the history, of which each knows its nearest only.

    Similarity of items i and j is the cosine of their users with shrinkage, c_ij / (sqrt(c_i c_j) + shrinkage), c
    counting users (Deshpande and Karypis, ACM TOIS 22(1), 2004; shrinkage after Bell and Koren, KDD Cup 2007).

    Parameters
    ----------
    users, items : ArrayLike
        The train interactions, [interactions] each; repeated ones count once.
    n_items : int
        Size of the catalogue.
    neighbours : int
        Nearest items kept for each item; of equally near ones any, but always the same.
    shrinkage : float
        Distrust of similarities that rest on few users; 0 for the plain cosine.
    """

    def __init__(
        self, users: ArrayLike, items: ArrayLike, n_items: int, neighbours: int = 100, shrinkage: float = 10.0
    ) -> None:
        if neighbours < 1 or not 0.0 <= shrinkage < float("inf"):
            raise ConfigError(
                f"neighbours {neighbours!r}, shrinkage {shrinkage!r}", "keep at least one neighbour; shrinkage is >= 0"
            )
        self._n_items = n_items
        self._similarities = _nearest(_interactions(users, items, n_items), neighbours, shrinkage)

    def scores(self, histories: Histories) -> NDArray[np.float32]:
        """Summed similarities to the distinct items of each history, [m, n_items]; zeros for an empty history."""
        rows = np.repeat(np.arange(len(histories)), [len(np.atleast_1d(history)) for history in histories])
        columns = np.concatenate(
            [np.atleast_1d(np.asarray(history, dtype=np.int64)) for history in histories] or [_NOTHING]
        )
        chosen = _table(rows, columns, (len(histories), self._n_items))
        found: NDArray[np.float32] = (chosen @ self._similarities).toarray()
        return found


def _interactions(users: ArrayLike, items: ArrayLike, n_items: int) -> sparse.csr_array:
    """Who has what, ones in [users, n_items]; users are renumbered."""
    users, items = np.asarray(users), np.asarray(items, dtype=np.int64)
    if users.ndim != 1 or users.shape != items.shape:
        raise DataError(f"users {users.shape!r} and items {items.shape!r} do not pair", "pass two arrays of one length")
    known, rows = np.unique(users, return_inverse=True)
    return _table(rows, items, (len(known), n_items))


def _table(rows: NDArray[np.int64], columns: NDArray[np.int64], shape: tuple[int, int]) -> sparse.csr_array:
    if len(columns) and not 0 <= columns.min() <= columns.max() < shape[1]:
        raise DataError(
            f"item numbers reach from {int(columns.min())!r} to {int(columns.max())!r}", f"they lie in [0, {shape[1]})"
        )
    table = sparse.csr_array((np.ones(len(rows), dtype=np.float32), (rows, columns)), shape=shape)
    table.data[:] = 1.0
    return table


def _nearest(table: sparse.csr_array, neighbours: int, shrinkage: float) -> sparse.csr_array:
    """Each item's nearest items, [n_items, n_items], a block of rows at a time."""
    by_item = table.T.tocsr()
    lengths = np.sqrt(np.diff(by_item.indptr)).astype(np.float32)
    blocks = []
    for first in range(0, table.shape[1], BLOCK):
        block = (by_item[first : first + BLOCK] @ table).tocoo()
        rows, columns = block.coords
        values = block.data / (lengths[first + rows] * lengths[columns] + np.float32(shrinkage))
        other = columns != first + rows
        rows, columns, values = rows[other], columns[other], values[other]
        order = np.lexsort((columns, -values, rows))
        rows, columns, values = rows[order], columns[order], values[order]
        starts = np.searchsorted(rows, np.arange(block.shape[0]))
        near = np.arange(len(rows)) - starts[rows] < neighbours
        blocks.append(sparse.csr_array((values[near], (rows[near], columns[near])), shape=block.shape))
    return sparse.vstack(blocks, format="csr")
