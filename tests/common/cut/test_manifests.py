from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from common.cut import (
    Cut,
    Manifest,
    client_side,
    config_digest,
    digest,
    manifest,
    read_manifest,
    server_side,
    write_sides,
)
from common.cut.identity import joint_digest
from common.errors import ModelError
from tests.common.cut.tiny import edit_config

TENSORS = {"a": "1", "b": "2"}
CLIENT = Manifest("client", 1, 1, 5, "llama", joint_digest(TENSORS), "c", TENSORS)


def test_manifest_of_a_whole_folder(tiny) -> None:
    found = manifest(tiny("llama"), Cut(1, 2), "server")
    assert (found.side, found.k, found.m, found.layers, found.family) == ("server", 1, 2, 5, "llama")
    assert found.digest == digest(tiny("llama"))
    assert found.config == config_digest(tiny("llama"))


def test_a_sides_configuration_is_the_one_it_was_split_with(tiny, tmp_path: Path) -> None:
    for folder, make in zip(write_sides(tiny("llama"), Cut(1, 1), tmp_path), (client_side, server_side), strict=True):
        edit_config(folder, transformers_version="9.9")
        make(folder, Cut(1, 1))
        edit_config(folder, rms_norm_eps=0.5)
        with pytest.raises(ModelError, match="config.json in .* the model was split with"):
            make(folder, Cut(1, 1))


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
