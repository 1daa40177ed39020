from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from common.cut import Cut, client_side, config_digest, digest, manifest, read_config, server_side, write_sides
from common.cut.tensors import tensor_digest
from common.errors import ModelError
from tests.common.cut.tiny import LAYERS, batch, load_whole, save_tiny

CUT = Cut(1, 1)


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return {name: tensor for file in folder.glob("*.safetensors") for name, tensor in load_file(file).items()}


@pytest.mark.parametrize("shard", ["5GB", "8KB"])
def test_two_folders_hold_the_checkpoint_and_give_its_two_sides(tmp_path: Path, shard: str) -> None:
    folder = save_tiny("llama", tmp_path / "model", causal=True, shard=shard)
    (folder / "tokenizer.json").write_text("{}")
    (folder / "run.py").write_text("")
    (folder / "pytorch_model.bin").write_bytes(b"")
    client, server = write_sides(folder, CUT, tmp_path / "sides")
    below, middle, whole = tensors(client), tensors(server), tensors(folder)
    assert not below.keys() & middle.keys()
    assert all(torch.equal(tensor, (below | middle)[name]) for name, tensor in whole.items())
    assert {name.split(".")[2] for name in middle} == {"1", "2", "3"}
    others = [{file.name for file in side.iterdir() if file.suffix != ".safetensors"} for side in (client, server)]
    assert others[1] == {"config.json", "cut.json", "model.safetensors.index.json"}
    assert others[0] - others[1] == {"tokenizer.json", "generation_config.json"}
    assert read_config(client).num_hidden_layers == read_config(server).num_hidden_layers == LAYERS
    model = client_side(client, CUT, server_side(server, CUT), causal=True)
    expected = load_whole(folder, causal=True)(**batch("right")).logits
    assert torch.equal(model.requires_grad_(False)(**batch("right")).logits, expected)


def test_manifests_of_the_folders_belong_together(tiny, tmp_path: Path) -> None:
    client, server = write_sides(tiny("bert"), CUT, tmp_path)
    own, other = manifest(client, CUT, "client"), manifest(server, CUT, "server")
    assert replace(own, side="server") == other == manifest(tiny("bert"), CUT, "server")
    assert own.digest == digest(tiny("bert")) == digest(client) == digest(server)
    assert own.config == config_digest(client) == config_digest(server)
    assert own.digest != digest(save_tiny("bert", tmp_path / "other", seed=8))


def test_a_folder_of_another_side_or_cut_is_refused(tiny, tmp_path: Path) -> None:
    client, server = write_sides(tiny("bert"), CUT, tmp_path)
    with pytest.raises(ModelError, match="holds the side 'server', not 'client'"):
        client_side(server, CUT)
    with pytest.raises(ModelError, match="k=1, m=1, not at k=2, m=1"):
        server_side(server, Cut(2, 1))
    with pytest.raises(ModelError, match="one side of a model already"):
        write_sides(client, CUT, tmp_path / "again")


def test_nothing_is_written_over_or_left_behind(tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match="impossible"):
        write_sides(tiny("bert"), Cut(4, 1), tmp_path / "out")
    assert not (tmp_path / "out").exists()

    def full(*args: object, **kwargs: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("common.cut.folder.save_file", full)
    with pytest.raises(OSError, match="no space"):
        write_sides(tiny("bert"), CUT, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
    monkeypatch.undo()
    monkeypatch.setenv("FELLREC_HOME", str(tmp_path / "home"))
    write_sides(tiny("bert"), CUT, tmp_path / "out")
    with pytest.raises(ModelError, match="exists"):
        write_sides(tiny("bert"), CUT, tmp_path / "out")


def test_a_cut_manifest_says_what_the_folder_is(tiny, tmp_path: Path) -> None:
    _, server = write_sides(tiny("gpt2"), Cut(2, 1), tmp_path)
    found = json.loads((server / "cut.json").read_text())
    assert {name: found[name] for name in ("side", "k", "m", "layers", "family", "schema")} == {
        "side": "server",
        "k": 2,
        "m": 1,
        "layers": LAYERS,
        "family": "gpt2",
        "schema": 3,
    }


@pytest.mark.parametrize("side", ["client", "server"])
def test_a_changed_byte_in_a_sides_folder_is_refused(tiny, tmp_path: Path, side: str) -> None:
    folder = write_sides(tiny("bert"), CUT, tmp_path)[side == "server"]
    load = {"client": client_side, "server": server_side}[side]
    load(folder, CUT)
    (file,) = folder.glob("*.safetensors")
    named = {name: tensor.numpy().tobytes() for name, tensor in load_file(file).items() if "pooler" not in name}
    name = sorted(named)[len(named) // 2]
    changed = bytearray(file.read_bytes())
    changed[changed.index(named[name])] ^= 1
    file.write_bytes(changed)
    with pytest.raises(ModelError, match=f"tensor {re.escape(repr(name))} in .*{file.name}.* is not the one"):
        load(folder, CUT)
    # another model's tensor, with digests that say so: the model's own digest no longer holds
    manifest_file = folder / "cut.json"
    told = json.loads(manifest_file.read_text())
    told["tensors"][name] = tensor_digest(name, load_file(file)[name])
    manifest_file.write_text(json.dumps(told))
    with pytest.raises(ModelError, match="digest is"):
        load(folder, CUT)
