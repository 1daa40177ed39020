"""client_app/start.py: the own share, chosen on validation users only where it stands out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from client_app.assignment import Assignment
from client_app.holding import Holding
from client_app.items import Shelf
from client_app.memory import Memory
from client_app.node import all_clients
from client_app.start import start
from client_app.training import train
from common.config import from_flat
from common.own_share import interpolate
from common.recommenders.build import build
from common.recommenders.state import trained_state
from tests.federation import tiny_settings


@pytest.mark.parametrize("own_is_better", [True, False])
def test_a_better_own_adapter_is_taken_and_a_worse_one_is_not(fellrec_home: Path, own_is_better: bool) -> None:
    budget = {"train__local_epochs": 10, "train__examples": 0, "model__temperature": 0.5}
    config = from_flat(tiny_settings(fellrec_home, data__sets="toy:1", **budget))
    holding = Holding.load("toy-0", all_clients(config, config.home)["toy-0"], config.data.split)
    recommender = build(config.model, config.seed)
    texts, origin = recommender.catalogue_index(holding.dataset.catalogue), trained_state(recommender)
    train(recommender, [Shelf(holding, texts, recommender.encode_items(texts))], config, "toy-0", 1, 3e-3)
    trained = trained_state(recommender)
    mixed, own = (origin, trained) if own_is_better else (trained, origin)
    task = Assignment("toy-0", 2, mixed, own)
    begun = start(recommender, holding, texts, task, Memory(fellrec_home / "clients" / "run" / "toy-0"), config)
    assert (begun.share > 0) == own_is_better
    loaded, wanted = trained_state(recommender), interpolate(mixed, own, begun.share, "factors")
    assert all(torch.equal(loaded[name], wanted[name]) for name in wanted)


def test_a_frozen_item_matrix_is_that_of_its_first_round(fellrec_home: Path) -> None:
    config = from_flat(tiny_settings(fellrec_home, train__freeze_items_from=2))
    holding = Holding.load("toy-0", all_clients(config, config.home)["toy-0"], config.data.split)
    recommender, memory = build(config.model, config.seed), Memory(fellrec_home / "clients" / "run" / "toy-0")
    texts = recommender.catalogue_index(holding.dataset.catalogue)
    adapters = [{name: tensor + 0.1 * k for name, tensor in trained_state(recommender).items()} for k in range(3)]
    matrices = [
        start(recommender, holding, texts, Assignment("toy-0", k + 1, adapters[k]), memory, config).shelf.items
        for k in range(3)
    ]
    assert not torch.equal(matrices[0], matrices[1]) and torch.equal(matrices[1], matrices[2])
