"""client_app/memory.py: what a client remembers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from client_app.memory import Memory
from common.errors import DataError


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
