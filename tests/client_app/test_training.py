"""client_app/training.py: local steps, on a tiny model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from client_app.holding import Holding
from client_app.items import Shelf
from client_app.node import all_clients
from client_app.training import Learned, train
from common.config import RunConfig, from_flat
from common.errors import ModelError
from common.recommenders.build import build
from common.recommenders.encoder.recommender import EncoderRecommender
from common.recommenders.state import load_trained, trained_state
from tests.federation import tiny_settings


def shelf_of(config: RunConfig, recommender: EncoderRecommender, client: str = "toy-0") -> Shelf:
    holding = Holding.load(client, all_clients(config, config.home)[client], config.data.split)
    texts = recommender.catalogue_index(holding.dataset.catalogue)
    return Shelf(holding, texts, recommender.encode_items(texts))


def run(home: Path, rate: float = 1e-2, round_number: int = 1, **overrides: object) -> tuple[Learned, dict, dict]:
    config = from_flat(tiny_settings(home, **overrides))
    recommender = build(config.model, config.seed)
    before = trained_state(recommender)
    learned = train(recommender, [shelf_of(config, recommender)], config, "toy-0", round_number, rate)
    return learned, before, trained_state(recommender)


def test_every_trained_tensor_moves_once_its_partner_has(fellrec_home: Path) -> None:
    _, before, after = run(fellrec_home, train__local_epochs=2)
    still = [name for name in before if torch.equal(before[name], after[name])]
    assert not still


def test_training_lowers_the_loss(fellrec_home: Path) -> None:
    first, _, _ = run(fellrec_home, train__local_epochs=1, train__resample=False)
    many, _, _ = run(fellrec_home, train__local_epochs=20, train__resample=False)
    assert many.loss < first.loss and many.examples == 20 * first.examples


def test_the_same_round_is_the_same_and_another_is_not(fellrec_home: Path) -> None:
    (_, _, one), (_, _, two), (_, _, other) = run(fellrec_home), run(fellrec_home), run(fellrec_home, round_number=2)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_the_proximal_term_holds_the_adapter_back(fellrec_home: Path) -> None:
    def moved(**overrides: object) -> float:
        _, before, after = run(fellrec_home, train__local_epochs=10, model__lora_dropout=0.0, **overrides)
        return sum(float((after[name] - before[name]).norm()) for name in before)

    assert moved(strategy__name="fedprox", fedprox__mu=1000.0) < 0.8 * moved(strategy__name="fedavg")
    assert moved(strategy__name="fedavg", fedprox__mu=1000.0) == moved(strategy__name="fedavg")


def test_a_loss_that_is_not_finite_names_the_client_and_the_remedy(fellrec_home: Path) -> None:
    config = from_flat(tiny_settings(fellrec_home))
    recommender = build(config.model, config.seed)
    shelf = shelf_of(config, recommender)
    shelf.items = shelf.items * float("nan")
    with pytest.raises(ModelError, match="toy-0.*learning-rate"):
        train(recommender, [shelf], config, "toy-0", 1, 1e-3)


def test_the_pool_trains_on_what_its_clients_would_have_trained_on(fellrec_home: Path) -> None:
    config = from_flat(tiny_settings(fellrec_home))
    recommender = build(config.model, config.seed)
    shelves = [shelf_of(config, recommender, f"toy-{place}") for place in range(3)]
    each = sum(len(shelf.holding.examples(config, 1)) for shelf in shelves)
    assert train(recommender, shelves, config, "pool", 1, 1e-3).examples == each


def test_a_task_of_another_client_starts_from_its_own_tensors_alone(fellrec_home: Path) -> None:
    """The process is shared in simulation: nothing that one client trained may reach the next."""
    config = from_flat(tiny_settings(fellrec_home))
    recommender = build(config.model, config.seed)
    origin = trained_state(recommender)
    train(recommender, [shelf_of(config, recommender, "toy-1")], config, "toy-1", 1, 1e-2)
    load_trained(recommender, origin)
    train(recommender, [shelf_of(config, recommender)], config, "toy-0", 1, 1e-2)
    _, _, alone = run(fellrec_home)
    shared = trained_state(recommender)
    assert all(torch.equal(shared[name], alone[name]) for name in alone)
