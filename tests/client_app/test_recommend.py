"""client_app/recommend.py: unseen items, best first, with reasons; one user, many users, somebody new."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from client_app.holding import Holding
from client_app.memory import Memory
from client_app.ranking import fitted_evidence, recommender_scorer
from client_app.recommend import REASONS, Recommending
from common.config import RunConfig, from_flat
from common.data.catalogue import Catalogue
from common.data.dataset import Dataset
from common.errors import ConfigError, DataError
from common.recommenders.build import build
from common.recommenders.evidence import Weights
from common.recommenders.recommender import Recommender
from tests.federation import tiny_causal_settings, tiny_dataset, tiny_settings

MAKERS = {"encoder": tiny_settings, "distance": tiny_causal_settings, "trie": tiny_causal_settings}


@pytest.fixture(params=MAKERS)
def ready(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Recommending, Recommender, RunConfig]:
    kind = request.param
    extra = {} if kind == "encoder" else {"generate__grounding": kind, "generate__beams": 3}
    config = from_flat(MAKERS[kind](tmp_path, **extra))
    recommender = build(config.model, config.seed, generate=config.generate)
    if kind == "encoder":
        with torch.no_grad():
            recommender.projection.user.normal_(0, 0.2, generator=torch.Generator().manual_seed(1))
    return recommending(recommender, config, tmp_path), recommender, config


def recommending(
    recommender: Recommender, config: RunConfig, home: Path, weights: Weights | None = None
) -> Recommending:
    holding = Holding.load("toy", home / "data" / "toy", "leave-last-out")
    return Recommending(recommender, holding, Memory(home / "clients" / "one" / "toy"), config, 2, weights)


def test_what_was_seen_is_left_out_and_the_best_come_first(ready: tuple) -> None:
    found = ready[0].for_user("toy-u3", 20)
    titles, scores = [item.title for item in found.recommended], [item.score for item in found.recommended]
    assert found.client == "toy" and found.user == "toy-u3" and len(found.history) == 5
    assert titles and not set(titles) & set(found.history) and len(set(titles)) == len(titles)
    assert scores == sorted(scores, reverse=True) and np.isfinite(scores).all()


def test_reasons_are_titles_of_the_history_that_is_read(ready: tuple) -> None:
    recommending, _, config = ready
    found = recommending.for_user("toy-u3", 3)
    for item in found.recommended:
        assert len(item.because) == REASONS and set(item.because) <= set(found.history[: config.model.history])


def test_many_users_get_what_each_gets_alone(ready: tuple) -> None:
    recommending, users = ready[0], ["toy-u5", "toy-u0", "toy-u5"]
    for user, found in zip(users, recommending.for_users(users, 4), strict=True):
        alone = recommending.for_user(user, 4)
        assert (found.user, found.history) == (alone.user, alone.history)
        assert [item.key for item in found.recommended] == [item.key for item in alone.recommended]
        assert [item.because for item in found.recommended] == [item.because for item in alone.recommended]


def test_somebody_new_with_a_user_s_history_gets_what_the_user_gets(ready: tuple) -> None:
    user = ready[0].for_user("toy-u4", 4)
    new = ready[0].for_history(user.history[::-1], 4)
    assert new.user == "" and new.history == user.history and not new.notes
    assert [item.key for item in new.recommended] == [item.key for item in user.recommended]


def test_nothing_of_a_given_history_is_stored(ready: tuple, tmp_path: Path) -> None:
    ready[0].for_user()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    found = ready[0].for_history(["red fox", "blue baer"], 3)
    assert found.notes == ("'blue baer' was read as 'blue bear'",) and found.history == ("blue bear", "red fox")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_what_cannot_be_answered_is_refused_before_any_work(ready: tuple) -> None:
    with pytest.raises(DataError, match="'nobody'.*the first is 'toy-u0'"):
        ready[0].for_users(["toy-u1", "nobody"])
    with pytest.raises(ConfigError, match="history is empty"):
        ready[0].for_history([])
    with pytest.raises(DataError, match="'qqq'"):
        ready[0].for_history(["red fox", "qqq"])


def test_the_run_s_weights_of_evidence_stand_for_those_that_would_be_chosen(tmp_path: Path) -> None:
    config = from_flat(tiny_settings(tmp_path, evaluate__evidence="neighbours"))
    recommender = build(config.model, config.seed)
    fitted = recommending(recommender, config, tmp_path)
    chosen = fitted_evidence(recommender_scorer(recommender, fitted._shelf), fitted._holding, config).weights
    given = recommending(recommender, config, tmp_path, chosen)
    assert given.for_user("toy-u1") == fitted.for_user("toy-u1")
    other = recommending(recommender, config, tmp_path, Weights(popularity=3.0, neighbours=9.0))
    assert other.for_user("toy-u1") != fitted.for_user("toy-u1")


def test_the_reason_is_what_alone_would_score_highest(tmp_path: Path) -> None:
    config = from_flat(tiny_settings(tmp_path))
    recommender = build(config.model, config.seed)
    ready = recommending(recommender, config, tmp_path)
    found = ready.for_user("toy-u3", 3)
    titles = list(ready._holding.dataset.catalogue.titles)
    for item in found.recommended:
        with torch.no_grad():
            scored = {
                title: recommender.scores([[titles.index(title)]], ready._shelf.texts, ready._shelf.items)[
                    0, titles.index(item.title)
                ].item()
                for title in found.history[: config.model.history]
            }
        assert scored[item.because[0]] >= max(scored.values()) - 1e-4


def test_a_title_that_was_seen_under_another_id_is_left_out_too(tmp_path: Path) -> None:
    config = from_flat(tiny_settings(tmp_path))
    toy = tiny_dataset("toy")
    items = tuple({"title": "red fox"} if place in (0, 4) else item for place, item in enumerate(toy.catalogue.items))
    catalogue = Catalogue("toy", toy.catalogue.keys, items)
    Dataset("toy", catalogue, toy.interactions, True, "none", "made for a test").save(tmp_path / "data" / "twice")
    holding = Holding.load("twice", tmp_path / "data" / "twice", "leave-last-out")
    recommender = build(config.model, config.seed)
    ready = Recommending(recommender, holding, Memory(tmp_path / "clients" / "one" / "twice"), config, 2)
    found = ready.for_history(["red fox"], 9)
    assert len(found.recommended) == 7 and "red fox" not in {item.title for item in found.recommended}


def test_an_item_matrix_that_training_moved_is_encoded_once_for_an_adapter(tmp_path: Path) -> None:
    config = from_flat(tiny_settings(tmp_path))
    recommender = build(config.model, config.seed)
    first = recommending(recommender, config, tmp_path).for_user("toy-u1")
    kept = list((tmp_path / "clients").rglob("served-*.safetensors"))
    assert len(kept) == 1
    stamp = kept[0].stat().st_mtime_ns
    assert recommending(recommender, config, tmp_path).for_user("toy-u1") == first
    assert kept[0].stat().st_mtime_ns == stamp
    with torch.no_grad():
        next(p for p in recommender.backbone.parameters() if p.requires_grad).add_(0.1)
    recommending(recommender, config, tmp_path)
    assert len(list((tmp_path / "clients").rglob("served-*.safetensors"))) == 2
