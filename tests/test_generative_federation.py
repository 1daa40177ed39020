"""A federation of generative recommenders: asked in words, grounded in the catalogue, whole and through the split."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from client_app.items import Shelf
from client_app.ranking import rank, recommender_scorer
from client_app.training import train
from common.config import from_flat
from common.data.split import Part
from common.recommenders.build import build
from tests.federation import federate, tiny_causal_settings
from tests.test_leakage import noise


def result_of(home: Path) -> tuple[dict, dict]:
    run = (home / "runs" / "latest").resolve()
    adapters = {path.stem: load_file(path) for path in sorted((run / "adapters").glob("*.safetensors"))}
    return json.loads((run / "result.json").read_text()), adapters


@pytest.mark.parametrize("grounding", ["distance", "trie"])
def test_the_split_changes_no_number(fellrec_home: Path, grounding: str) -> None:
    found = []
    for on in (False, True):
        federate(
            tiny_causal_settings(
                fellrec_home, split__on=on, generate__grounding=grounding, generate__compare=grounding == "trie"
            )
        )
        found.append(result_of(fellrec_home))
    (whole, whole_adapters), (split, split_adapters) = found
    assert whole["metrics"] == split["metrics"] and len(split["metrics"]["clients"]) == 3
    for client, adapter in whole_adapters.items():
        assert adapter.keys() == split_adapters[client].keys()
        for name, tensor in adapter.items():
            assert torch.equal(tensor, split_adapters[client][name]), (client, name)
    assert split["cost"]["client"]["parameters"] < split["cost"]["client"]["parameters_whole"]


def test_both_ways_of_grounding_are_measured(fellrec_home: Path) -> None:
    federate(
        tiny_causal_settings(fellrec_home, generate__compare=True, evaluate__evidence="popularity", generate__beams=3)
    )
    result, _ = result_of(fellrec_home)
    grounding = result["metrics"]["grounding"]
    assert set(grounding) == {"exact", "distance", "trie"} and 0 <= grounding["exact"] <= 1
    assert grounding["trie"]["test"] == result["metrics"]["test"]
    assert grounding["trie"]["model"] == result["metrics"]["model"]
    assert result["run"]["recommender"] == "generative"


def test_injection_is_tuned_for_distances(fellrec_home: Path) -> None:
    federate(tiny_causal_settings(fellrec_home, generate__grounding="distance", evaluate__evidence="injection"))
    result, _ = result_of(fellrec_home)
    assert all(client["evidence"]["injection"] >= 0 for client in result["metrics"]["clients"].values())


def test_shuffled_labels_score_at_chance(fellrec_home: Path) -> None:
    """Of nine items four are seen, so the target's rank is uniform over five: a hit at rank 1 has chance 0.2."""
    config = from_flat(
        tiny_causal_settings(
            fellrec_home, data__sets="noise:1", train__examples=0, generate__beams=9, train__local_epochs=2
        )
    )
    holding = noise(config, fellrec_home)
    recommender = build(config.model, config.seed, generate=config.generate)
    shelf = Shelf(holding, index := recommender.catalogue_index(holding.dataset.catalogue), torch.empty(0))
    train(recommender, [shelf], config, "noise-0", 1, 1e-2)
    cases = holding.cases(Part.TEST, 0, config.seed)
    best = rank(recommender_scorer(recommender, shelf), cases, 64).per_user("ndcg@10") == 1.0
    assert abs(best.mean() - 0.2) < 4 * np.sqrt(0.2 * 0.8 / len(best)), best.mean()
    assert len(index) == 9


def test_no_target_stands_in_its_prompt(fellrec_home: Path) -> None:
    config = from_flat(tiny_causal_settings(fellrec_home, data__sets="noise:1"))
    holding = noise(config, fellrec_home)
    recommender = build(config.model, config.seed, generate=config.generate)
    index = recommender.catalogue_index(holding.dataset.catalogue)
    cases = holding.cases(Part.TEST, 0, config.seed)
    prompts = recommender.prompts.encode(cases.histories, index.titles)
    for ids, mask, targets in zip(*prompts[:2], cases.targets, strict=True):
        text = recommender.tokenizer.decode(ids[mask.bool()])
        assert all(f'"{index.texts[target]}"' not in text for target in targets)
