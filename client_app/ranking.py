"""How well a recommender ranks a client's catalogue for the client's own users: full ranking, seen items masked."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from client_app.holding import Holding
from client_app.items import Shelf
from common.config import RunConfig
from common.data.split import Cases, Part
from common.evaluation.baselines import ItemKNN, Popularity
from common.evaluation.rankings import METRICS, RankingMetrics, ranks
from common.messages import Rankings
from common.recommenders.evidence import MOST_USERS, Evidence
from common.recommenders.recommender import Recommender

log = logging.getLogger("flwr")
PROGRESS_SECONDS = 15.0
"""Between two lines of progress."""

Scorer = Callable[[Sequence[np.ndarray]], Tensor | np.ndarray]
"""Histories in, scores [users, n_items] out."""


def rank(scorer: Scorer, cases: Cases, batch: int) -> RankingMetrics:
    """Ranks every case's targets, ``batch`` users at a time: memory never grows with users x items."""
    metrics = RankingMetrics()
    for rows in _chunks(cases, batch):
        metrics.add(ranks(scorer(cases.histories[rows]), cases.targets[rows], cases.seen[rows]))
    return metrics


def judge(recommender: Recommender, shelf: Shelf, cases: Cases, batch: int) -> tuple[RankingMetrics, np.ndarray]:
    """The ranking, and per user the mean log-likelihood of the targets, float64 [users]."""
    metrics, found, scorer = RankingMetrics(), [], recommender_scorer(recommender, shelf)
    for rows in _chunks(cases, batch):
        scores = scorer(cases.histories[rows])
        metrics.add(ranks(scores, cases.targets[rows], cases.seen[rows]))
        found.append(_likelihoods(recommender, shelf, cases, rows, scores))
    return metrics, np.concatenate(found or [np.empty(0)])


def likelihoods(recommender: Recommender, shelf: Shelf, cases: Cases, batch: int) -> np.ndarray:
    """Per user the mean log-likelihood of the targets, float64 [users], without a ranking."""
    return np.concatenate([_likelihoods(recommender, shelf, cases, rows) for rows in _chunks(cases, batch)])


@torch.no_grad()
def _likelihoods(
    recommender: Recommender, shelf: Shelf, cases: Cases, rows: slice, scores: Tensor | None = None
) -> np.ndarray:
    recommender.eval()
    return recommender.log_likelihoods(cases.histories[rows], cases.targets[rows], shelf.texts, shelf.items, scores)


def _chunks(cases: Cases, batch: int) -> Iterator[slice]:
    """Row ranges of ``batch`` users; where it takes long, the log says how far it is."""
    began = told = time.monotonic()
    for start in range(0, len(cases), batch):
        yield slice(start, start + batch)
        done, now = min(start + batch, len(cases)), time.monotonic()
        if now - told > PROGRESS_SECONDS:
            told = now
            log.info("ranked for %d of %d users, %.1f ms each", done, len(cases), 1000 * (now - began) / done)


def recommender_scorer(recommender: Recommender, shelf: Shelf) -> Callable[[Sequence[np.ndarray]], Tensor]:
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
    for rows in _chunks(cases, batch):
        scores = np.asarray(model(cases.histories[rows]))
        alone.add(ranks(scores, cases.targets[rows], cases.seen[rows]))
        blended = evidence.blend(scores, cases.histories[rows])
        served.add(ranks(blended, cases.targets[rows], cases.seen[rows]))
    return served, alone


def summary(client: str, metrics: RankingMetrics, users: int) -> Rankings:
    """A client's mean over users as it is reported; all zero, of zero users, where there was nobody to rank for."""
    values = metrics.result() if users else dict.fromkeys(METRICS, 0.0)
    return Rankings((client,), {**{name: (value,) for name, value in values.items()}, "users": (users,)})
