from __future__ import annotations

from pathlib import Path

import pytest
import torch

from client_app.crowd_memory import CrowdMemory, PrivateState
from common.config import PrivacyConfig
from common.errors import DataError, RunError
from common.privacy.budget import accountant, release_settings

START = {"user.weight": torch.zeros(2, 3), "table.weight": torch.ones(4)}
PRIVACY = PrivacyConfig(mechanism="laplace", epsilon=2.0)


def memory(folder: Path, *clients: str) -> CrowdMemory:
    return CrowdMemory(lambda client: folder / client, clients)


def drawn(seed: int, clients: int = 2) -> PrivateState:
    state, draw = PrivateState.begin(START, clients), torch.Generator().manual_seed(seed)
    for kind in (state.values, state.first, state.second):
        for name in kind:
            kind[name] = torch.randn(kind[name].shape, generator=draw)
    state.steps += seed
    return state


def same(one: PrivateState, other: PrivateState) -> bool:
    return torch.equal(one.packed(), other.packed()) and torch.equal(one.steps, other.steps)


def test_the_state_of_the_last_round_comes_back_and_those_before_two_void_ones(tmp_path: Path) -> None:
    kept = memory(tmp_path, "a", "b")
    for number in (0, 1, 2, 3):
        kept.save(drawn(number), number)
    assert all(same(kept.load(START, number + 1), drawn(number)) for number in (1, 2, 3))
    assert len(list(tmp_path.glob("a/private-*"))) == 3
    kept.save(drawn(9), 2)
    assert same(kept.load(START, 4), drawn(9))


def test_who_is_new_begins_at_the_start_and_order_does_not_matter(tmp_path: Path) -> None:
    memory(tmp_path, "a", "b").save(drawn(1), 1)
    found = memory(tmp_path, "c", "b").load(START, 2)
    assert torch.equal(found.values["table.weight"][0], START["table.weight"]) and found.steps.tolist() == [0, 1]
    assert torch.equal(found.values["user.weight"][1], drawn(1).values["user.weight"][1])


def test_a_client_that_diverged_goes_on_from_the_round_before(tmp_path: Path) -> None:
    kept = memory(tmp_path, "a", "b")
    kept.save(drawn(1), 1)
    spoilt = drawn(2)
    spoilt.values["user.weight"][0, 0, 0] = float("nan")
    kept.save(spoilt, 2)
    found = kept.load(START, 3)
    assert found.steps.tolist() == [1, 2] and torch.isfinite(found.packed()).all()


def test_damage_and_other_models_are_refused(tmp_path: Path) -> None:
    kept = memory(tmp_path, "a")
    kept.save(drawn(1, 1), 1)
    with pytest.raises(DataError, match="damaged"):
        kept.load({"user.weight": torch.zeros(5)}, 2)
    (tmp_path / "a" / "private-0001.safetensors").write_bytes(b"no")
    with pytest.raises(DataError, match="damaged"):
        kept.load(START, 2)


def test_a_release_is_on_disk_once_it_is_counted_and_the_budget_holds_over_processes(tmp_path: Path) -> None:
    release = release_settings(PRIVACY, 2)
    assert memory(tmp_path, "a").charge("a", accountant(PRIVACY), release) == pytest.approx(1.0)
    assert memory(tmp_path, "a").charge("a", accountant(PRIVACY), release) == pytest.approx(2.0)
    with pytest.raises(RunError, match="past max_epsilon"):
        memory(tmp_path, "a").charge("a", accountant(PRIVACY), release)
    (tmp_path / "a" / "account.json").write_text("{")
    with pytest.raises(DataError, match="damaged"):
        memory(tmp_path, "a").charge("a", accountant(PRIVACY), release)
