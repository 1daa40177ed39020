"""client_app/items.py: which matrix a round reads, and that none is made anew by another model than the one that made it."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest
import torch
from flwr.app import Message
from torch import Tensor

from client_app.holding import Holding
from client_app.items import Frozen, frozen_for, item_matrix, remembered
from client_app.memory import Memory
from client_app.node import all_clients
from client_app.training import train
from common.config import RunConfig, from_flat
from common.errors import RunError
from common.events import read_lines
from common.recommenders.build import build
from common.recommenders.recommender import Recommender
from common.recommenders.state import load_trained, trained_state
from common.run_folder import RunFolder
from tests.federation import InProcessGrid, federate, tiny_dataset, tiny_settings


def one_client(home: Path, **overrides: object) -> tuple[RunConfig, Holding, Recommender, Memory]:
    config = from_flat(tiny_settings(home, data__sets="toy:1", num_server_rounds=4, **overrides))
    holding = Holding.load("toy-0", all_clients(config, config.home)["toy-0"], config.data.split)
    return config, holding, build(config.model, config.seed), Memory(home / "clients" / "run" / "toy-0")


def moved(recommender: Recommender) -> dict[str, Tensor]:
    """All trained tensors a step away from the start, loaded."""
    state = {name: tensor + 0.1 for name, tensor in trained_state(recommender).items()}
    load_trained(recommender, state)
    return state


@pytest.mark.parametrize("adapter", ["lora", "full"])
def test_frozen_from_the_first_round_it_is_the_untrained_model_s_in_any_round(fellrec_home: Path, adapter: str) -> None:
    config, holding, recommender, memory = one_client(fellrec_home, train__freeze_items_from=1, model__adapter=adapter)
    texts = recommender.catalogue_index(holding.dataset.catalogue)
    untrained, state = recommender.encode_items(texts, config.evaluate.batch_size), moved(recommender)
    assert not torch.equal(recommender.encode_items(texts, config.evaluate.batch_size), untrained)
    for frozen in Frozen:
        assert torch.equal(item_matrix(recommender, texts, holding, memory, config, 3, frozen=frozen), untrained)
        shutil.rmtree(fellrec_home / "clients")
    found = trained_state(recommender)
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())


def test_frozen_later_it_is_remembered_or_refused(fellrec_home: Path, caplog: pytest.LogCaptureFixture) -> None:
    config, holding, recommender, memory = one_client(fellrec_home, train__freeze_items_from=2)
    texts = recommender.catalogue_index(holding.dataset.catalogue)
    first = item_matrix(recommender, texts, holding, memory, config, 2, frozen=Frozen.NOW)
    moved(recommender)
    for frozen in (Frozen.KEPT, Frozen.LATE):
        assert torch.equal(item_matrix(recommender, texts, holding, memory, config, 3, frozen=frozen), first)
    shutil.rmtree(fellrec_home / "clients")
    with pytest.raises(
        RunError, match="client 'toy-0' has lost its item matrix, which is frozen since round 2"
    ) as told:
        item_matrix(recommender, texts, holding, memory, config, 3)
    assert "clients/RUN/CLIENT" in told.value.hint and not (fellrec_home / "clients").exists()
    with caplog.at_level(logging.WARNING, logger="flwr"):
        late = item_matrix(recommender, texts, holding, memory, config, 3, frozen=Frozen.LATE)
    assert not torch.equal(late, first) and "toy-0" in caplog.text and "round 3" in caplog.text
    moved(recommender)
    assert torch.equal(item_matrix(recommender, texts, holding, memory, config, 4), late)


def test_who_missed_the_round_that_froze_it_is_not_taken_for_one_that_lost_it(fellrec_home: Path) -> None:
    config, holding, recommender, memory = one_client(fellrec_home, train__freeze_items_from=3)
    texts = recommender.catalogue_index(holding.dataset.catalogue)
    for number in (1, 2):
        item_matrix(recommender, texts, holding, memory, config, number)
    assert remembered(memory, "toy-0", texts) is None
    frozen = item_matrix(recommender, texts, holding, memory, config, 4)
    moved(recommender)
    assert torch.equal(item_matrix(recommender, texts, holding, memory, config, 4), frozen)


def test_what_a_run_of_the_same_name_left_is_not_what_this_one_freezes(fellrec_home: Path) -> None:
    config, holding, recommender, memory = one_client(fellrec_home, train__freeze_items_from=2)
    texts = recommender.catalogue_index(holding.dataset.catalogue)
    other = item_matrix(recommender, texts, holding, memory, config, 2, frozen=Frozen.NOW)
    moved(recommender)
    frozen = item_matrix(recommender, texts, holding, memory, config, 2, frozen=Frozen.NOW)
    assert not torch.equal(frozen, other) and torch.equal(remembered(memory, "toy-0", texts), frozen)


def test_a_matrix_of_another_catalogue_of_the_same_length_is_refused(fellrec_home: Path) -> None:
    config, holding, recommender, memory = one_client(fellrec_home, train__freeze_items_from=2)
    texts = recommender.catalogue_index(holding.dataset.catalogue)
    item_matrix(recommender, texts, holding, memory, config, 2, frozen=Frozen.NOW)
    turned = recommender.catalogue_index(tiny_dataset("toy", animals=("owl", "bear", "fox")).catalogue)
    assert len(turned) == len(texts) and turned.digest != texts.digest
    for frozen in (Frozen.KEPT, Frozen.LATE):
        with pytest.raises(RunError, match=f"'toy-0'.*{texts.digest[:16]}.*{turned.digest[:16]}"):
            item_matrix(recommender, turned, holding, memory, config, 3, frozen=frozen)


def test_who_has_reported_before_has_a_matrix_to_remember(fellrec_home: Path) -> None:
    config = one_client(fellrec_home, train__freeze_items_from=2)[0]
    for contributed in (0, 1):
        assert frozen_for(config, 2, contributed, training=True) is Frozen.NOW
        wanted = Frozen.KEPT if contributed else Frozen.LATE
        assert all(frozen_for(config, 3, contributed, training) is wanted for training in (True, False))
    assert frozen_for(config, 2, 1, training=False) is Frozen.KEPT


def matrices(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str, int], Tensor]:
    """What clients train with from now on, by run, client and round."""
    read: dict[tuple[str, str, int], Tensor] = {}

    def kept(recommender, shelves, config, client, number, *rest):  # noqa: ANN001, ANN002, ANN202
        read[config.run_name, client, number] = shelves[0].items.clone()
        return train(recommender, shelves, config, client, number, *rest)

    monkeypatch.setattr("client_app.text_learner.train", kept)
    return read


@pytest.mark.parametrize("split", [False, True])
def test_a_late_joiner_has_the_matrix_as_if_it_had_been_there_from_the_start(
    fellrec_home: Path, monkeypatch: pytest.MonkeyPatch, split: bool
) -> None:
    read, grids = matrices(monkeypatch), []
    chosen = {"split__on": split, "data__sets": "toy:2", "train__freeze_items_from": 1, "train__learning_rate": 0.05}
    federate(tiny_settings(fellrec_home, run_name="start", **chosen))
    shutil.rmtree(fellrec_home / "clients")

    def alone(*arguments: object) -> InProcessGrid:
        grids.append(InProcessGrid(*arguments))
        grids[0].present = {101}
        return grids[0]

    def join(reply: Message) -> Message:
        grids[0].present.add(102)
        # what the first client made of the same catalogue is not there for the other
        shutil.rmtree(fellrec_home / "clients")
        return reply

    settings = tiny_settings(fellrec_home, run_name="late", federation__min_clients=1, **chosen)
    federate(settings, faults={("toy-0", 1): join}, grid=alone)
    assert ("late", "toy-1", 1) not in read and torch.equal(read["late", "toy-1", 2], read["start", "toy-1", 2])
    assert torch.equal(read["late", "toy-0", 2], read["start", "toy-0", 1])


def test_a_client_that_lost_its_matrix_is_left_out_by_name_and_the_others_go_on(fellrec_home: Path) -> None:
    def lose(reply: Message) -> Message:
        shutil.rmtree(fellrec_home / "clients" / "one" / "toy-1")
        return reply

    settings = tiny_settings(fellrec_home, run_name="one", num_server_rounds=3, train__freeze_items_from=2)
    federate(settings, faults={("toy-1", 2): lose})
    run = RunFolder.find("one", str(fellrec_home))
    third = run.result()["rounds"][2]
    assert third["clients_ok"] == 2 and set(third["clients_failed"]) == {"toy-1"}
    rejected = [event for event in read_lines(run.events_path) if event["event"] == "rejected"]
    assert len(rejected) == 2 and all(event["clients"] == ["toy-1"] and event["round"] == 3 for event in rejected)
    assert all("has lost its item matrix" in event["reason"] for event in rejected)
    assert set(run.result()["metrics"]["missing"]) == {"toy-1"}
