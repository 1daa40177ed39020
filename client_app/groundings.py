"""Both ways from words to items, measured on the same users: by distance to what was generated, and by a trie of titles."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from client_app.items import Shelf
from client_app.ranking import fitted_evidence, rank_with_evidence, summary
from common.config import RunConfig
from common.data.split import Cases
from common.messages import Rankings
from common.messages.report import GROUNDED
from common.recommenders.evidence import MOST_USERS
from common.recommenders.generative.grounding import exact_share
from common.recommenders.generative.recommender import GenerativeRecommender
from common.recommenders.generative.settings import Grounding
from common.recommenders.generative.title_index import TitleIndex
from common.recommenders.recommender import own_index

WAYS: tuple[Grounding, ...] = get_args(Grounding)


def both_groundings(
    recommender: GenerativeRecommender,
    shelf: Shelf,
    cases: Cases,
    config: RunConfig,
    measured: tuple[Rankings, Rankings],
) -> dict[str, Rankings]:
    """By :data:`~common.messages.report.GROUNDED` what each way of grounding serves, and what it achieves without evidence.

    Injection is for distances; beams get popularity in its place.

    Parameters
    ----------
    recommender : GenerativeRecommender
        The client's recommender.
    shelf : Shelf
        What the client holds.
    cases : Cases
        Users to rank for.
    config : RunConfig
        Configuration of the run.
    measured : tuple of Rankings
        Served and alone, by the way that the configuration asks for.
    """
    found = dict(zip(GROUNDED[config.generate.grounding], measured, strict=True))
    for way in WAYS:
        if way == config.generate.grounding:
            continue
        chosen = config
        if config.evaluate.evidence == "injection":
            chosen = config.model_copy(
                update={"evaluate": config.evaluate.model_copy(update={"evidence": "popularity"})}
            )
        score = partial(_score, recommender, shelf, way)
        blend = fitted_evidence(score, shelf.holding, chosen)
        ranked = rank_with_evidence(score, blend, cases, config.evaluate.batch_size)
        found |= {
            name: summary(shelf.holding.client, metrics, len(cases))
            for name, metrics in zip(GROUNDED[way], ranked, strict=True)
        }
    return found


def exactness(recommender: GenerativeRecommender, shelf: Shelf, cases: Cases, config: RunConfig) -> float:
    """The share of freely generated outputs that are titles of the catalogue, over :data:`MOST_USERS` users at most."""
    texts, batch = [], config.evaluate.batch_size
    for start in range(0, min(MOST_USERS, len(cases)), batch):
        texts += recommender.generate(cases.histories[start : min(start + batch, MOST_USERS)], shelf.texts)
    return exact_share(texts, own_index(shelf.texts, TitleIndex).texts) if texts else 0.0


@torch.no_grad()
def _score(recommender: GenerativeRecommender, shelf: Shelf, way: Grounding, histories: Sequence[np.ndarray]) -> Tensor:
    recommender.eval()
    return recommender.scores(histories, shelf.texts, shelf.items, grounding=way)
