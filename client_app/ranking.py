"""How well a recommender ranks a client's catalogue for the client's own users: full ranking, seen items masked."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from client_app.holding import Holding
from client_app.items import Shelf
from common.baselines import ItemKNN, Popularity
from common.config import RunConfig
from common.data.split import Cases, Part
from common.messages import Ranking
from common.metrics import METRICS, RankingMetrics, ranks
from common.recommenders.encoder import EncoderRecommender
from common.recommenders.evidence import MOST_USERS, Evidence

Scorer = Callable[[Sequence[np.ndarray]], Tensor | np.ndarray]
"""Histories in, scores [users, n_items] out."""


def rank(scorer: Scorer, cases: Cases, batch: int) -> RankingMetrics:
    """Ranks every case's targets, ``batch`` users at a time: memory never grows with users x items."""
    return judge(scorer, cases, batch)[0]


def judge(scorer: Scorer, cases: Cases, batch: int) -> tuple[RankingMetrics, np.ndarray]:
    """The ranking, and per user the mean log-likelihood of the targets under the softmax over the catalogue, float64 [users]."""
    metrics, likelihoods = RankingMetrics(), []
    for start in range(0, len(cases), batch):
        rows = slice(start, start + batch)
        scores, targets = scorer(cases.histories[rows]), cases.targets[rows]
        metrics.add(ranks(scores, targets, cases.seen[rows]))
        logs = torch.log_softmax(torch.as_tensor(scores).double(), dim=-1)
        likelihoods += [
            row[torch.as_tensor(t, dtype=torch.int64)].mean().item() for row, t in zip(logs, targets, strict=True)
        ]
    return metrics, np.array(likelihoods)


def recommender_scorer(recommender: EncoderRecommender, shelf: Shelf) -> Scorer:
    """The model's scores, without gradient and dropout."""

    @torch.no_grad()
    def score(histories: Sequence[np.ndarray]) -> Tensor:
        recommender.eval()
        return recommender.scores(histories, shelf.texts, shelf.items)

    return score


def baseline_scorers(holding: Holding, history: int) -> dict[str, Scorer]:
    """Popularity and item-kNN from the client's own training interactions; neighbours of the newest ``history`` items.

    Item-kNN reads as much of a history as the model does: of the whole history it would be the weaker rival.
    """
    pairs, count = holding.train_pairs(), len(holding.dataset.catalogue)
    neighbours = ItemKNN(*pairs, count)
    return {
        "popularity": Popularity(*pairs, count).scores,
        "item_knn": lambda histories: neighbours.scores([items[-history:] for items in histories]),
    }


def fitted_evidence(model: Scorer, holding: Holding, config: RunConfig) -> Evidence:
    """The client's own evidence, with the weights that serve its validation users best."""
    catalogue = len(holding.dataset.catalogue)
    evidence = Evidence(config.evaluate.evidence, *holding.train_pairs(), catalogue, config.model.history)
    cases = holding.cases(Part.VALID, MOST_USERS, config.seed)
    evidence.fit(lambda histories: np.asarray(model(histories)), cases)
    return evidence


def rank_with_evidence(
    model: Scorer, evidence: Evidence, cases: Cases, batch: int
) -> tuple[RankingMetrics, RankingMetrics]:
    """The ranking that is served, and the model's alone, from one pass of the model."""
    served, alone = RankingMetrics(), RankingMetrics()
    for start in range(0, len(cases), batch):
        rows = slice(start, start + batch)
        scores = np.asarray(model(cases.histories[rows]))
        alone.add(ranks(scores, cases.targets[rows], cases.seen[rows]))
        blended = evidence.blend(scores, cases.histories[rows])
        served.add(ranks(blended, cases.targets[rows], cases.seen[rows]))
    return served, alone


def summary(metrics: RankingMetrics, users: int) -> Ranking:
    """The mean over users as it is reported; all zero, of zero users, where there was nobody to rank for."""
    values = metrics.result() if users else dict.fromkeys(METRICS, 0.0)
    return Ranking(users, values)
