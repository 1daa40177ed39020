"""Recommendations for one user of a client, made on the client from its own data, its own layers and its own adapter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from client_app.holding import Holding
from client_app.items import Shelf, item_matrix
from client_app.memory import Memory
from client_app.ranking import fitted_evidence, recommender_scorer
from common.config import RunConfig
from common.errors import DataError
from common.recommenders.encoder import EncoderRecommender


@dataclass(frozen=True)
class Recommendations:
    """A user's history, newest first, and what is recommended, best first; titles with scores."""

    client: str
    user: str
    history: list[str]
    recommended: list[tuple[str, float]]


def recommend(
    recommender: EncoderRecommender,
    holding: Holding,
    memory: Memory,
    config: RunConfig,
    rounds: int,
    user: str = "",
    top: int = 10,
) -> Recommendations:
    """The ``top`` unseen items for one user, or for the user with the median history length where none is named.

    Parameters
    ----------
    recommender : with the client's adapter loaded, and its middle layers in place.
    memory : what the client kept from the run of ``rounds`` rounds: its frozen item matrix, if there is one.

    Raises
    ------
    DataError : the client has no such user.
    """
    interactions, catalogue = holding.dataset.interactions, holding.dataset.catalogue
    position = _user(holding, user)
    seen = interactions.items[interactions.of_user(position)]
    texts = recommender.catalogue_index(catalogue)
    shelf = Shelf(holding, texts, item_matrix(recommender, texts, holding, memory, config, rounds))
    model = recommender_scorer(recommender, shelf)
    evidence = fitted_evidence(model, holding, config)
    scores = torch.as_tensor(evidence.blend(np.asarray(model([seen])), [seen])[0])
    scores[torch.as_tensor(np.unique(seen), dtype=torch.int64)] = -torch.inf
    best = scores.topk(min(top, len(catalogue) - len(np.unique(seen))))
    return Recommendations(
        holding.client,
        interactions.user_keys[position],
        [catalogue.titles[item] for item in seen[::-1]],
        [
            (catalogue.titles[item], score)
            for score, item in zip(best.values.tolist(), best.indices.tolist(), strict=True)
        ],
    )


def _user(holding: Holding, user: str) -> int:
    interactions = holding.dataset.interactions
    if user:
        if user not in interactions.user_keys:
            raise DataError(
                f"client {holding.client!r} has no user {user!r}", f"the first is {interactions.user_keys[0]!r}"
            )
        return interactions.user_keys.index(user)
    lengths = np.diff(interactions.offsets)
    return int(np.argsort(lengths, kind="stable")[len(lengths) // 2])
