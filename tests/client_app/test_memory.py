"""client_app/memory.py: what a client remembers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from client_app.memory import Memory
from common.config import PrivacyConfig
from common.errors import DataError, RunError
from common.privacy.budget import accountant, release_settings

PRIVACY = PrivacyConfig(mechanism="laplace", epsilon=2.0)


def test_what_is_saved_is_remembered_and_nothing_else(tmp_path: Path) -> None:
    memory = Memory(tmp_path / "run" / "client")
    assert memory.load("items") is None
    memory.save("items", {"items": torch.arange(6.0).reshape(2, 3).T})
    assert torch.equal(memory.load("items")["items"], torch.arange(6.0).reshape(2, 3).T)
    assert [path.name for path in (tmp_path / "run" / "client").iterdir()] == ["items.safetensors"]


def test_damage_is_named_with_a_remedy(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    (tmp_path / "items.safetensors").write_bytes(b"nonsense")
    with pytest.raises(DataError, match="items.safetensors.*delete"):
        memory.load("items")


def kept(memory: Memory, before: int, rounds: int = 1) -> list[float]:
    return [float(one["x"]) for one in memory.kept(before, rounds)]


def test_the_rounds_before_two_void_ones_are_kept_and_later_ones_are_of_an_abandoned_way(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    for number in (0, 1, 2, 3):
        memory.keep(number, {"x": torch.tensor(float(number))})
    assert [kept(memory, number + 1) for number in (1, 2, 3)] == [[1.0], [2.0], [3.0]]
    assert kept(memory, 4, 2) == [2.0, 3.0] and kept(memory, 1) == []
    memory.keep(2, {"x": torch.tensor(9.0)})
    assert kept(memory, 4) == [9.0] and len(list(tmp_path.glob("private-*"))) == 2


def test_as_many_rounds_are_kept_as_are_averaged(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    for number in range(1, 8):
        memory.keep(number, {"x": torch.tensor(float(number))}, rounds=5)
    assert kept(memory, 8, 5) == [3.0, 4.0, 5.0, 6.0, 7.0]


def test_a_damaged_round_is_named(tmp_path: Path) -> None:
    (tmp_path / "private-0001.safetensors").write_bytes(b"no")
    with pytest.raises(DataError, match="private-0001.*goes on from the round before"):
        Memory(tmp_path).kept(2)


def test_a_release_is_on_disk_once_it_is_counted_and_the_budget_holds_over_processes(tmp_path: Path) -> None:
    release = release_settings(PRIVACY, 2)
    assert Memory(tmp_path).charge(accountant(PRIVACY), release) == pytest.approx(1.0)
    assert Memory(tmp_path).charge(accountant(PRIVACY), release) == pytest.approx(2.0)
    with pytest.raises(RunError, match="past max_epsilon"):
        Memory(tmp_path).charge(accountant(PRIVACY), release)
    (tmp_path / "account.json").write_text("{")
    with pytest.raises(DataError, match="damaged"):
        Memory(tmp_path).charge(accountant(PRIVACY), release)
