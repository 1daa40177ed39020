"""client_app/click_state.py: what each of many clients keeps of its small model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from client_app.click_state import ClickState
from client_app.memory import Memory
from common.errors import DataError

START = {"user.weight": torch.zeros(2, 3), "table.weight": torch.ones(4)}


def memories(folder: Path, *clients: str) -> list[Memory]:
    return [Memory(folder / client) for client in clients]


def drawn(seed: int, clients: int = 2) -> ClickState:
    state, draw = ClickState.begin(START, clients), torch.Generator().manual_seed(seed)
    for kind in (state.values, state.first, state.second):
        for name in kind:
            kind[name] = torch.randn(kind[name].shape, generator=draw)
    state.steps += seed
    return state


def same(one: ClickState, other: ClickState) -> bool:
    return torch.equal(one.packed(), other.packed()) and torch.equal(one.steps, other.steps)


def test_the_state_of_the_last_round_comes_back(tmp_path: Path) -> None:
    kept = memories(tmp_path, "a", "b")
    for number in (1, 2, 3):
        drawn(number).save(kept, number)
    assert all(same(ClickState.load(START, kept, number + 1), drawn(number)) for number in (1, 2, 3))


def test_the_values_of_several_rounds_are_averaged_and_the_moments_are_the_last_one_s(tmp_path: Path) -> None:
    kept = memories(tmp_path, "a", "b")
    for number in (1, 2):
        drawn(number).save(kept, number)
    found = ClickState.load(START, kept, 3, rounds=2)
    expected = (drawn(1).values["user.weight"].double() + drawn(2).values["user.weight"].double()) / 2
    torch.testing.assert_close(found.values["user.weight"], expected.float())
    assert torch.equal(found.first["user.weight"], drawn(2).first["user.weight"]) and found.steps.tolist() == [2, 2]


def test_who_is_new_begins_at_the_start_and_order_does_not_matter(tmp_path: Path) -> None:
    drawn(1).save(memories(tmp_path, "a", "b"), 1)
    found = ClickState.load(START, memories(tmp_path, "c", "b"), 2)
    assert torch.equal(found.values["table.weight"][0], START["table.weight"]) and found.steps.tolist() == [0, 1]
    assert torch.equal(found.values["user.weight"][1], drawn(1).values["user.weight"][1])


def test_a_client_that_diverged_goes_on_from_the_round_before(tmp_path: Path) -> None:
    kept = memories(tmp_path, "a", "b")
    drawn(1).save(kept, 1)
    spoilt = drawn(2)
    spoilt.values["user.weight"][0, 0, 0] = float("nan")
    spoilt.save(kept, 2)
    found = ClickState.load(START, kept, 3)
    assert found.steps.tolist() == [1, 2] and torch.isfinite(found.packed()).all()


def test_another_model_is_refused(tmp_path: Path) -> None:
    kept = memories(tmp_path, "a")
    drawn(1, 1).save(kept, 1)
    with pytest.raises(DataError, match="another model"):
        ClickState.load({"user.weight": torch.zeros(5)}, kept, 2)
