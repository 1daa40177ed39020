"""A client's own evidence: what its training interactions say beside the model, blended in on the client when it serves.

Text tells what is alike, not what is liked: which items are popular, and which are taken together. A client knows both
from its own interactions, and keeps them (scope ``private``: indexed by item, never federated). The served score is

    w_model * score + w_popularity * ln(1 + count) + w_neighbours * item-kNN score (row maximum 1),

a conditional logit whose non-negative weights are fitted on the client's validation users. Every result says what the
model achieves without it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from common.baselines import ItemKNN
from common.data.split import Cases

Kind = Literal["none", "popularity", "neighbours"]

MOST_USERS = 256
"""Validation users that the weights are fitted on: three numbers need no more, and memory is users x items here."""

PRIOR = 1.0
"""Strength of the pull towards the model alone, in users."""

ALONE = (1.0, 0.0, 0.0)


@dataclass(frozen=True)
class Weights:
    """What the blend gives to each part; :data:`ALONE` is the model by itself."""

    model: float
    popularity: float
    neighbours: float


class Evidence:
    """The blend for one client.

    Parameters
    ----------
    kind : ``none`` leaves scores as they are; ``popularity`` adds counts; ``neighbours`` adds counts and item-kNN.
    users, items : the client's training interactions, int [n] each.
    n_items : size of the client's catalogue.
    """

    def __init__(self, kind: Kind, users: NDArray, items: NDArray, n_items: int) -> None:
        self._kind = kind
        self._popularity = np.log1p(np.bincount(items, minlength=n_items)).astype(np.float32)
        self._neighbours = ItemKNN(users, items, n_items) if kind == "neighbours" else None
        self.weights = Weights(*ALONE)

    def fit(self, score: Callable[[Sequence[NDArray]], NDArray], cases: Cases) -> None:
        """Chooses the weights by penalised likelihood of validation targets among unseen items; convex, so always the same.

        ``score`` gives the model's scores [m, n_items] for m histories. Without cases the model stays alone.
        """
        if self._kind == "none" or not len(cases):
            return
        rows = range(min(MOST_USERS, len(cases)))
        parts = self._parts(score(cases.histories[: len(rows)]), cases.histories[: len(rows)])
        for row in rows:
            parts[row, cases.seen[row], :] = 0.0
        seen = np.zeros(parts.shape[:2], dtype=bool)
        wanted = np.zeros(parts.shape[:2], dtype=np.float32)
        for row in rows:
            seen[row, cases.seen[row]] = True
            wanted[row, cases.targets[row]] = 1 / len(cases.targets[row])

        def loss(weights: NDArray) -> tuple[float, NDArray]:
            logits = np.where(seen, -np.inf, parts @ weights.astype(np.float32))
            logs = np.where(seen, 0.0, log_softmax(logits, axis=1))
            pull = weights - np.array(ALONE)
            value = -(wanted * logs).sum(dtype=np.float64) + PRIOR / 2 * (pull**2).sum()
            slope = np.einsum("ui,uik->k", softmax(logits, axis=1) - wanted, parts, dtype=np.float64) + PRIOR * pull
            return value / len(rows), slope / len(rows)

        free = (0.0, 20.0)
        bounds = [free, free, free if self._neighbours else (0.0, 0.0)]
        found = minimize(loss, np.array(ALONE), jac=True, bounds=bounds, method="L-BFGS-B")
        self.weights = Weights(*(float(weight) for weight in found.x))

    def blend(self, scores: NDArray, histories: Sequence[NDArray]) -> NDArray:
        """The served scores [m, n_items] for the model's scores [m, n_items]."""
        if self._kind == "none":
            return scores
        weights = np.array([self.weights.model, self.weights.popularity, self.weights.neighbours], dtype=np.float32)
        return self._parts(scores, histories) @ weights

    def _parts(self, scores: NDArray, histories: Sequence[NDArray]) -> NDArray[np.float32]:
        parts = np.zeros((*scores.shape, 3), dtype=np.float32)
        parts[..., 0] = scores
        parts[..., 1] = self._popularity
        if self._neighbours is not None:
            near = np.asarray(self._neighbours.scores(histories), dtype=np.float32)
            top = near.max(axis=1, keepdims=True)
            parts[..., 2] = np.divide(near, top, out=np.zeros_like(near), where=top > 0)
        return parts
