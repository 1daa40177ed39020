"""A client's own evidence: what its training interactions say beside the model, blended in when the client serves.

Text tells what is alike, not what is liked: which items are popular, and which are taken together. A client knows both
from its own interactions, and keeps them (scope ``private``: indexed by item, never federated). The served score is

    z(score) + w_popularity * z(ln(1 + count)) + w_neighbours * item-kNN score (row maximum 1),

z: less the mean over the catalogue, over the standard deviation; what a model does not reach (score -inf) is one deviation
below the last that it reaches. ``injection`` is BIGRec's way for distances instead
(``common.recommenders.generative.grounding``). The weights are those of a small grid that rank the
targets of the client's validation users best, and zero where no gain stands out from the noise. Likelihood would choose
others: it looks at the whole catalogue, a recommendation only at its head. Every result says what the model achieves
alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from common.data.split import Cases
from common.evaluation.baselines import ItemKNN
from common.evaluation.rankings import ranks
from common.own_share import FEWEST_USERS
from common.recommenders.generative.grounding import injected

Numbers = NDArray[np.integer]
Scores = NDArray[np.floating]
Kind = Literal["none", "popularity", "neighbours", "injection"]

MOST_USERS = 256
"""Validation users that the weights are chosen on."""

MARGIN = 2.0
"""Standard errors that a gain must exceed."""

BATCH = 64
"""Users whose scores are held at once."""


@dataclass(frozen=True)
class Weights:
    """What the blend gives to the evidence, in standard deviations of the model's scores; zeros: the model alone."""

    popularity: float = 0.0
    neighbours: float = 0.0
    injection: float = 0.0


ALONE = Weights()
POPULARITY, NEIGHBOURS = (0.0, 0.25, 0.5, 1.0, 2.0), (0.0, 1.0, 2.0, 4.0, 8.0)
INJECTION = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Evidence:
    """The blend for one client.

    Parameters
    ----------
    kind : str
        ``none`` leaves scores as they are; ``popularity`` adds counts; ``neighbours`` adds counts and item-kNN;
        ``injection`` shrinks distances (negative scores) by counts.
    users, items : NDArray
        The client's training interactions, int [n] each.
    n_items : int
        Size of the client's catalogue.
    newest : int
        Items of a history whose neighbours count: what was met last says most about what comes next.
    """

    def __init__(self, kind: Kind, users: Numbers, items: Numbers, n_items: int, newest: int) -> None:
        self._kind, self._newest = kind, newest
        self._counts = np.bincount(items, minlength=n_items)
        self._popularity = _standardised(np.log1p(self._counts))
        self._neighbours = ItemKNN(users, items, n_items) if kind == "neighbours" else None
        self.weights = ALONE

    def fit(self, score: Callable[[Sequence[Numbers]], Scores], cases: Cases) -> None:
        """Chooses the weights on validation cases: see :func:`choose`.

        ``score`` gives the model's scores [m, n_items] for m histories. A case's value is ``1 / log2(1 + rank)``, the
        mean over its targets: NDCG without a cut, since at 10 most cases of a small client are zero either way.
        """
        if self._kind == "none":
            return
        candidates = [Weights(w, v) for w in POPULARITY for v in (NEIGHBOURS if self._neighbours else (0.0,))]
        if self._kind == "injection":
            candidates = [Weights(injection=gamma) for gamma in INJECTION]
        values: dict[Weights, list[float]] = {weights: [] for weights in candidates}
        for start in range(0, min(MOST_USERS, len(cases)), BATCH):
            rows = slice(start, min(start + BATCH, MOST_USERS))
            blends = self._blends(score(cases.histories[rows]), cases.histories[rows])
            for weights, found in values.items():
                places = ranks(blends(weights), cases.targets[rows], cases.seen[rows])
                found += [float(np.mean(1 / np.log2(1 + place))) for place in places]
        self.weights = choose(values)

    def blend(self, scores: Scores, histories: Sequence[Numbers]) -> Scores:
        """The served scores [m, n_items] for the model's; with evidence, only their order in a row has a meaning."""
        return scores if self.weights == ALONE else self._blends(scores, histories)(self.weights)

    def _blends(self, scores: Scores, histories: Sequence[Numbers]) -> Callable[[Weights], Scores]:
        """What the weights make of the scores; what does not depend on them is computed once."""
        if self._kind == "injection":
            distances, counts = torch.from_numpy(-scores), torch.from_numpy(self._counts)
            return lambda weights: -injected(distances, counts, weights.injection).numpy()
        parts = self._parts(_reached(scores), histories)
        return lambda weights: _together(parts, weights)

    def _parts(self, scores: Scores, histories: Sequence[Numbers]) -> tuple[Scores, Scores, Scores | float]:
        if self._neighbours is not None:
            near = self._neighbours.scores([history[-self._newest :] for history in histories])
            top = near.max(axis=1, keepdims=True)
            return _standardised(scores), self._popularity, near / np.where(top > 0, top, 1)
        return _standardised(scores), self._popularity, 0.0


def choose(values: Mapping[Weights, ArrayLike]) -> Weights:
    """The weights of the largest mean gain over :data:`ALONE` among those beyond ``MARGIN`` standard errors.

    :data:`ALONE` where no gain stands out, and with fewer than ``FEWEST_USERS`` cases.
    """
    alone = np.asarray(values[ALONE], dtype=np.float64)
    best, best_gain = ALONE, 0.0
    if len(alone) < FEWEST_USERS:
        return ALONE
    for weights, found in values.items():
        gains = np.asarray(found) - alone
        mean, error = gains.mean(), gains.std(ddof=1) / len(gains) ** 0.5
        if mean > MARGIN * error and mean > best_gain:
            best, best_gain = weights, float(mean)
    return best


def _together(parts: tuple[Scores, Scores, Scores | float], weights: Weights) -> Scores:
    model, popularity, near = parts
    return model + weights.popularity * popularity + weights.neighbours * near


def _reached(scores: Scores) -> Scores:
    """Scores whose -inf are one standard deviation below the row's least finite one."""
    missed = np.isneginf(scores)
    if not missed.any():
        return scores
    known = np.where(missed, np.nan, scores)
    with np.errstate(invalid="ignore"), warnings.catch_warnings():
        # a row may hold nothing finite
        warnings.simplefilter("ignore", RuntimeWarning)
        floor = np.nanmin(known, axis=-1, keepdims=True) - np.nanstd(known, axis=-1, keepdims=True)
    return np.where(missed, np.nan_to_num(floor), scores)


def _standardised(rows: Scores) -> NDArray[np.float32]:
    """Each row less its mean, over its standard deviation; zeros where all are equal."""
    centred = rows - rows.mean(axis=-1, keepdims=True)
    spread = centred.std(axis=-1, keepdims=True)
    found: NDArray[np.float32] = (centred / np.where(spread > 0, spread, 1)).astype(np.float32)
    return found
