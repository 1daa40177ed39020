"""Leakage control: shuffled labels score at chance, and the target is never in what the model reads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from client_app.holding import Holding
from client_app.items import Shelf
from client_app.node import all_clients
from client_app.ranking import baseline_scorers, rank, recommender_scorer
from client_app.training import train
from common.config import RunConfig, from_flat
from common.data.interactions import Interactions
from common.data.split import Part
from common.recommenders.build import build
from common.recommenders.recommender import Recommender
from tests.federation import tiny_dataset, tiny_settings


def noise(config: RunConfig, home: Path) -> Holding:
    """A client whose items were dealt to its users at random."""
    clean = tiny_dataset("noise", users=300)
    rng = np.random.default_rng(0)
    items = np.concatenate([rng.permutation(9)[:5] for _ in range(300)])
    dealt = Interactions(clean.interactions.user_keys, clean.interactions.users, items, clean.interactions.times)
    replace(clean, interactions=dealt).save(home / "data" / "noise")
    return Holding.load("noise-0", all_clients(config, config.home)["noise-0"], config.data.split)


@pytest.fixture
def shuffled(fellrec_home: Path) -> tuple[Shelf, Recommender, RunConfig]:
    """Such a client, and a recommender trained on it."""
    settings = tiny_settings(fellrec_home, data__sets="noise:1", train__examples=0, train__local_epochs=3)
    config = from_flat(settings)
    holding = noise(config, fellrec_home)
    recommender = build(config.model, config.seed)
    texts = recommender.catalogue_index(holding.dataset.catalogue)
    shelf = Shelf(holding, texts, recommender.encode_items(texts))
    train(recommender, [shelf], config, "noise-0", 1, 1e-2)
    return shelf, recommender, config


def test_shuffled_labels_score_at_chance(shuffled) -> None:
    """Of nine items four are seen, so the target's rank is uniform over five: a hit at rank 1 has chance 0.2."""
    shelf, recommender, config = shuffled
    cases = shelf.holding.cases(Part.TEST, 0, config.seed)
    for name, scorer in {"model": recommender_scorer(recommender, shelf), **baseline_scorers(shelf.holding, 4)}.items():
        best = rank(scorer, cases, 64).per_user("ndcg@10") == 1.0
        assert abs(best.mean() - 0.2) < 4 * np.sqrt(0.2 * 0.8 / len(best)), name


def test_no_target_is_in_its_history_or_among_the_seen(shuffled) -> None:
    shelf, _, config = shuffled
    for part in (Part.VALID, Part.TEST):
        cases = shelf.holding.cases(part, 0, config.seed)
        for history, targets, seen in zip(cases.histories, cases.targets, cases.seen, strict=True):
            assert not set(targets) & set(history) and not set(targets) & set(seen)
    examples = shelf.holding.examples(config, 1)
    assert all(target not in history for history, target in zip(examples.histories, examples.targets, strict=True))
