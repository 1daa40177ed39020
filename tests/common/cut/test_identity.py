from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from common.cut import digest
from common.cut.identity import joint_digest
from common.cut.weights import WHOLE_FILE
from common.home import models_home
from tests.common.cut.tiny import save_tiny


def saved(folder: Path, **tensors: torch.Tensor) -> str:
    folder.mkdir()
    save_file(tensors, folder / WHOLE_FILE)
    return digest(folder)


def test_sharding_does_not_matter(tmp_path: Path) -> None:
    whole = save_tiny("llama", tmp_path / "whole")
    sharded = save_tiny("llama", tmp_path / "sharded", shard="8KB")
    assert digest(whole) == digest(sharded)


def test_values_names_shapes_and_dtypes_matter(tmp_path: Path) -> None:
    zeros = torch.zeros(4)
    digests = [
        saved(tmp_path / "a", a=zeros),
        saved(tmp_path / "b", b=zeros),
        saved(tmp_path / "c", a=zeros.view(2, 2)),
        saved(tmp_path / "d", a=torch.zeros(4, dtype=torch.int32)),
        saved(tmp_path / "e", a=torch.tensor([0.0, 0, 0, 1e-30])),
        saved(tmp_path / "f", a=torch.zeros(8, dtype=torch.bfloat16)),
        saved(tmp_path / "g", a=torch.tensor(0.0), b=zeros),
    ]
    assert len(set(digests)) == len(digests)
    assert saved(tmp_path / "again", a=zeros) == digests[0]


def test_a_digest_is_remembered_until_the_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = saved(tmp_path / "model", a=torch.zeros(4))
    monkeypatch.setattr("common.cut.identity._hash", lambda files: {"a": "computed anew"})
    assert digest(tmp_path / "model") == first
    file = tmp_path / "model" / WHOLE_FILE
    os.utime(file, ns=(0, file.stat().st_mtime_ns + 1))
    assert digest(tmp_path / "model") == joint_digest({"a": "computed anew"}) != first


def test_a_broken_memory_is_no_harm(tmp_path: Path) -> None:
    first = saved(tmp_path / "model", a=torch.zeros(4))
    (memory,) = (models_home() / "digests").iterdir()
    memory.write_text("{")
    assert digest(tmp_path / "model") == first


def test_a_home_that_cannot_be_written_to_is_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("FELLREC_HOME", str(tmp_path / "file"))
    assert len(saved(tmp_path / "model", a=torch.zeros(4))) == 64
