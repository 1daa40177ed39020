"""How well a recommender ranks a client's catalogue for the client's own users: full ranking, seen items masked."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from client_app.training import Shelf
from common.baselines import ItemKNN, Popularity
from common.data.split import Cases
from common.messages import Ranking
from common.metrics import METRICS, RankingMetrics, ranks
from common.recommenders.encoder import EncoderRecommender

Scorer = Callable[[Sequence[np.ndarray]], Tensor | np.ndarray]
"""Histories in, scores [users, n_items] out."""


def rank(scorer: Scorer, cases: Cases, batch: int) -> RankingMetrics:
    """Ranks every case's targets, ``batch`` users at a time: memory never grows with users x items."""
    metrics = RankingMetrics()
    for start in range(0, len(cases), batch):
        rows = slice(start, start + batch)
        metrics.add(ranks(scorer(cases.histories[rows]), cases.targets[rows], cases.seen[rows]))
    return metrics


def recommender_scorer(recommender: EncoderRecommender, shelf: Shelf) -> Scorer:
    """The model's scores, without gradient and dropout."""

    @torch.no_grad()
    def score(histories: Sequence[np.ndarray]) -> Tensor:
        recommender.eval()
        return recommender.scores(histories, shelf.texts, shelf.items)

    return score


def baseline_scorers(shelf: Shelf) -> dict[str, Scorer]:
    """Popularity and item-kNN from the client's own training interactions."""
    users, items = shelf.holding.train_pairs()
    count = len(shelf.holding.dataset.catalogue)
    return {"popularity": Popularity(users, items, count).scores, "item_knn": ItemKNN(users, items, count).scores}


def summary(metrics: RankingMetrics, users: int) -> Ranking:
    """The mean over users as it is reported; all zero, of zero users, where there was nobody to rank for."""
    values = metrics.result() if users else dict.fromkeys(METRICS, 0.0)
    return Ranking(users, values)
