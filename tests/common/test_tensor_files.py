"""common/tensor_files.py: what is written is read again, name by name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from common.tensor_files import load_file, save_file


def test_tensors_that_share_memory_and_slices_are_kept_each_by_itself(tmp_path: Path) -> None:
    one = torch.arange(6, dtype=torch.bfloat16).reshape(2, 3)
    tensors = {"a": one, "b": one, "turned": one.T, "trained": torch.ones(2, requires_grad=True)}
    save_file(tensors, tmp_path / "t")
    found = load_file(tmp_path / "t")
    assert found.keys() == tensors.keys() and found["a"].dtype == torch.bfloat16
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


def test_what_is_no_file_of_tensors_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(b"nothing")
    with pytest.raises(SafetensorError):
        load_file(tmp_path / "t")
    with pytest.raises(OSError):
        load_file(tmp_path / "nowhere")


def test_a_run_s_folder_is_read_without_torch() -> None:
    code = "import sys, common.run_folder, common.scopes; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
