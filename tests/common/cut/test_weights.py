from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from common.cut import read_weights
from common.cut.tensors import tensor_digest
from common.cut.weights import INDEX_FILE, WHOLE_FILE, tensor_files
from common.errors import ModelError
from tests.common.cut.tiny import load_whole, save_tiny

CHECKOUT = Path(__file__).resolve().parents[3]


def test_only_the_named_tensors_are_read_whole_or_sharded(tmp_path: Path) -> None:
    names = ["model.layers.3.mlp.up_proj.weight", "model.embed_tokens.weight"]
    expected = load_file(save_tiny("llama", tmp_path / "whole", causal=True) / WHOLE_FILE)
    sharded = save_tiny("llama", tmp_path / "sharded", causal=True, shard="8KB")
    assert not (sharded / WHOLE_FILE).exists()
    for folder in (tmp_path / "whole", sharded):
        found = read_weights(folder, names)
        assert found.keys() == set(names)
        assert all(torch.equal(found[name], expected[name]) for name in names)


@pytest.mark.parametrize(
    ("family", "causal", "asked"),
    [
        ("llama", True, "layers.0.mlp.up_proj.weight"),
        ("llama", False, "model.layers.0.mlp.up_proj.weight"),
        ("gpt2", True, "h.0.ln_1.weight"),
        ("gpt2", False, "transformer.h.0.ln_1.weight"),
        ("bert", False, "bert.encoder.layer.0.output.dense.weight"),
    ],
)
def test_prefixes_are_found_in_both_directions(tiny, family: str, causal: bool, asked: str) -> None:
    whole = load_whole(tiny(family, causal), causal).base_model
    found = read_weights(tiny(family, causal), [asked])
    path = asked.split(".", 1)[1] if not asked.startswith(("layers", "h.")) else asked
    assert torch.equal(found[asked], whole.get_parameter(path))


def test_norms_named_as_in_tensorflow_are_found(tmp_path: Path) -> None:
    stored = {"bert.embeddings.LayerNorm.gamma": torch.ones(3), "bert.embeddings.LayerNorm.beta": torch.zeros(3)}
    save_file(stored, tmp_path / WHOLE_FILE)
    found = read_weights(tmp_path, ["embeddings.LayerNorm.weight", "bert.embeddings.LayerNorm.bias"])
    assert found["embeddings.LayerNorm.weight"].sum() == 3
    assert found["bert.embeddings.LayerNorm.bias"].sum() == 0


def test_conversion_leaves_integers_alone(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2), "b": torch.arange(2)}, tmp_path / WHOLE_FILE)
    found = read_weights(tmp_path, ["a", "b"], torch.bfloat16)
    assert (found["a"].dtype, found["b"].dtype) == (torch.bfloat16, torch.int64)


def test_missing_and_broken_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="neither.*save_pretrained"):
        read_weights(tmp_path, ["a"])
    save_file({"a": torch.tensor([1.0, float("nan")])}, tmp_path / WHOLE_FILE)
    with pytest.raises(ModelError, match="'a'.*not finite"):
        read_weights(tmp_path, ["a"])
    with pytest.raises(ModelError, match="lacks 1 tensors, among them 'b'"):
        read_weights(tmp_path, ["a", "b"])
    (tmp_path / WHOLE_FILE).write_bytes(b"\x08\x00\x00\x00\x00\x00\x00\x00nonsense")
    with pytest.raises(ModelError, match="cannot be read"):
        read_weights(tmp_path, ["a"])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.float8_e5m2])
def test_a_value_that_is_not_finite_is_found_in_every_dtype(tmp_path: Path, dtype: torch.dtype) -> None:
    save_file({"good": torch.ones(3).to(dtype), "none": torch.ones(0).to(dtype)}, tmp_path / WHOLE_FILE)
    assert read_weights(tmp_path, ["good", "none"])["good"].dtype == dtype
    for wrong in (float("nan"), float("inf"), float("-inf")):
        save_file({"a": torch.tensor([1.0, wrong, 2.0]).to(dtype)}, tmp_path / WHOLE_FILE)
        with pytest.raises(ModelError, match="'a'.*not finite"):
            read_weights(tmp_path, ["a"])


def test_a_value_too_large_for_the_dtype_asked_for_is_refused(tmp_path: Path) -> None:
    save_file({"a": torch.tensor([1e6])}, tmp_path / WHOLE_FILE)
    assert read_weights(tmp_path, ["a"], torch.bfloat16)["a"].isfinite().all()
    with pytest.raises(ModelError, match="'a'.*not finite in torch.float16"):
        read_weights(tmp_path, ["a"], torch.float16)


def test_weights_are_checked_by_their_digests(tmp_path: Path) -> None:
    stored = {"bert.a": torch.ones(2), "bert.b": torch.zeros(2)}
    save_file(stored, tmp_path / WHOLE_FILE)
    digests = {name: tensor_digest(name, tensor) for name, tensor in stored.items()}
    assert read_weights(tmp_path, ["a", "b"], digests=digests).keys() == {"a", "b"}
    for wrong in ({}, digests | {"bert.b": digests["bert.a"]}):
        with pytest.raises(ModelError, match="'bert.[ab]' in .*is not the one"):
            read_weights(tmp_path, ["a", "b"], digests=wrong)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc to read the peak of memory from")
def test_reading_takes_the_weights_memory_and_little_more(tmp_path: Path) -> None:
    count, nbytes = 24, 4 << 20
    save_file({f"t{index}": torch.ones(nbytes // 4) for index in range(count)}, tmp_path / WHOLE_FILE)
    code = f"""
import re
from common.cut.tensors import tensor_digest
from common.cut.weights import read_weights
def now(name): return int(re.search(name + r":\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
before = now("VmRSS")
weights = read_weights({str(tmp_path)!r}, [f"t{{index}}" for index in range({count})])
print(now("VmHWM") - before)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=CHECKOUT)
    taken = int(said.stdout)
    assert count * nbytes <= taken < 1.5 * count * nbytes


@pytest.mark.parametrize("file", ["../model.safetensors", "gone.safetensors", "sub/model.safetensors", 5])
def test_an_index_names_files_of_its_own_folder_only(tmp_path: Path, file: object) -> None:
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    for place in (tmp_path, folder / "sub"):
        save_file({"a": torch.ones(1)}, place / WHOLE_FILE)
    (folder / INDEX_FILE).write_text(json.dumps({"weight_map": {"a": file}}))
    with pytest.raises(ModelError, match="names"):
        tensor_files(folder)


@pytest.mark.parametrize("text", ["{}", '{"weight_map": []}', '{"weight_map": {}}', "no"])
def test_a_broken_index_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / INDEX_FILE).write_text(text)
    with pytest.raises(ModelError, match="index.json"):
        tensor_files(tmp_path)
