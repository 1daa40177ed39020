"""common/recommenders/build.py: the untrained adapter follows from shapes and the seed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from common.config import ModelConfig
from common.cut import Cut
from common.recommenders import build as module
from common.recommenders.build import build, origin
from common.recommenders.state import trained_state
from tests.federation import tiny_model


@pytest.mark.parametrize(
    "changes",
    [{}, {"projection": False}, {"positions": "recformer"}, {"lora_targets": "query,dense"}, {"adapter": "full"}],
    ids=str,
)
def test_the_origin_is_what_a_client_starts_from(tmp_path: Path, changes: dict) -> None:
    model = ModelConfig(name=str(tiny_model(tmp_path)), history=4, max_tokens=48, item_tokens=8, lora_rank=2, **changes)
    expected, found = trained_state(build(model, 3)), origin(model, 3)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert (
        any(not torch.equal(found[name], origin(model, 4)[name]) for name in found) or changes.get("adapter") == "full"
    )


def test_no_weight_is_read_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny_model(tmp_path)
    (folder / "model.safetensors").write_bytes(b"not to be opened")
    monkeypatch.setattr(module, "load_encoder", lambda folder: pytest.fail("weights were read"))
    assert origin(ModelConfig(name=str(folder), max_tokens=48, item_tokens=8), 0)


def test_the_clients_side_starts_with_its_part_of_the_origin(tmp_path: Path) -> None:
    model = ModelConfig(name=str(tiny_model(tmp_path)), history=4, max_tokens=48, item_tokens=8)
    whole, side = origin(model, 3), trained_state(build(model, 3, Cut(1, 1)))
    assert side.keys() < whole.keys() and all(torch.equal(side[name], whole[name]) for name in side)
