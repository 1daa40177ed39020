from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from common.cut import Cut, Manifest, check_pair, digest, manifest, read_manifest
from common.cut.identity import joint_digest
from common.errors import ModelError
from tests.common.cut.tiny import save_tiny, tiny_config

TENSORS = {"a": "1", "b": "2"}
CLIENT = Manifest("client", 1, 1, 5, "llama", joint_digest(TENSORS), "c", TENSORS)


def test_manifest_of_a_whole_folder(tiny) -> None:
    found = manifest(tiny("llama"), Cut(1, 2), "server")
    assert (found.side, found.k, found.m, found.layers, found.family) == ("server", 1, 2, 5, "llama")
    assert found.digest == digest(tiny("llama"))
    check_pair(manifest(tiny("llama"), Cut(1, 2), "client"), found)


@pytest.mark.parametrize(
    ("field", "value"),
    [("k", 2), ("m", 0), ("layers", 6), ("family", "qwen2"), ("digest", "e"), ("config", "e"), ("schema", 1)],
)
def test_sides_that_differ_are_refused_by_the_field(field: str, value: object) -> None:
    server = replace(CLIENT, side="server")
    check_pair(CLIENT, server)
    with pytest.raises(ModelError, match=f"{field} is .* on the client and {value!r} on the server"):
        check_pair(CLIENT, replace(server, **{field: value}))


def test_two_sides_of_one_kind_are_refused() -> None:
    with pytest.raises(ModelError, match="'client' and 'client'"):
        check_pair(CLIENT, CLIENT)


def test_another_computation_with_the_same_weights_is_another_model(tmp_path: Path) -> None:
    folder = save_tiny("llama", tmp_path / "model")
    client = manifest(folder, Cut(1, 1), "client")
    config = json.loads((folder / "config.json").read_text())
    config["transformers_version"] = "9.9"
    (folder / "config.json").write_text(json.dumps(config))
    check_pair(client, manifest(folder, Cut(1, 1), "server"))
    tiny_config("llama", rms_norm_eps=0.5).save_pretrained(folder)
    with pytest.raises(ModelError, match="config is"):
        check_pair(client, manifest(folder, Cut(1, 1), "server"))


def test_a_manifest_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_manifest(tmp_path) is None
    CLIENT.write(tmp_path)
    assert read_manifest(tmp_path) == CLIENT


@pytest.mark.parametrize(
    "change",
    [
        {"k": "1"},
        {"k": True},
        {"digest": 3},
        {"schema": 0},
        {"side": "middle"},
        {"extra": 1},
        {"layers": None},
        {"tensors": []},
        {"tensors": {"a": 1}},
    ],
)
def test_a_malformed_manifest_is_refused(tmp_path: Path, change: dict) -> None:
    (tmp_path / "cut.json").write_text(json.dumps({**asdict(CLIENT), **change}))
    with pytest.raises(ModelError, match=next(iter(change))):
        read_manifest(tmp_path)


@pytest.mark.parametrize("tensors", [{}, {"a": "1"}, {"a": "1", "b": "3"}])
def test_digests_of_tensors_that_do_not_make_the_models_are_refused(tmp_path: Path, tensors: dict) -> None:
    replace(CLIENT, tensors=tensors).write(tmp_path)
    with pytest.raises(ModelError, match=f"digest is {CLIENT.digest!r}.*its tensors make"):
        read_manifest(tmp_path)
