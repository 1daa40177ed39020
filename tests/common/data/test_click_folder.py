from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from common.data.click_folder import ROWS, load_clicks, save_clicks
from common.data.click_split import split_clicks
from common.data.manifest import MANIFEST, digest_in
from common.errors import DataError
from tests.common.data.test_clicks import click_log


@pytest.mark.parametrize("divided", [True, False])
def test_a_folder_gives_back_what_was_saved(tmp_path: Path, divided: bool) -> None:
    log = click_log([0, 0, 1], [4, 2, 0], [0, 1, 1], [7, 8, 1])
    log = split_clicks(log) if divided else log
    save_clicks(log, tmp_path / "toy")
    found = load_clicks(tmp_path / "toy")
    assert found.digest == log.digest == digest_in(tmp_path / "toy")[1]
    assert (found.user_keys, found.item_keys, found.licence) == (log.user_keys, log.item_keys, log.licence)
    assert found.item_attributes.values == log.item_attributes.values
    assert (found.parts is None) != divided
    assert sorted(path.name for path in (tmp_path / "toy").iterdir()) == sorted([ROWS, MANIFEST])
    counts = json.loads((tmp_path / "toy" / MANIFEST).read_text(encoding="utf-8"))["counts"]
    assert counts == {"users": 4, "items": 5, "rows": 3, "clicks": 2}


def test_a_log_without_rows_is_kept(tmp_path: Path) -> None:
    none = np.zeros(0, dtype=np.int64)
    save_clicks(click_log(none, none, none, none), tmp_path)
    assert len(load_clicks(tmp_path)) == 0


def test_a_changed_value_is_noticed(tmp_path: Path) -> None:
    save_clicks(click_log([0], [0], [0], [0]), tmp_path)
    path = tmp_path / MANIFEST
    path.write_text(path.read_text(encoding="utf-8").replace('"old"', '"odd"'), encoding="utf-8")
    with pytest.raises(DataError, match="digest differs"):
        load_clicks(tmp_path)


@pytest.mark.parametrize("damage", [b"", b"nonsense", b"\x08\0\0\0\0\0\0\0{}      "])
def test_damaged_rows_are_refused(tmp_path: Path, damage: bytes) -> None:
    save_clicks(click_log([0], [0], [0], [0]), tmp_path)
    (tmp_path / ROWS).write_bytes(damage)
    with pytest.raises(DataError, match="damaged"):
        load_clicks(tmp_path)


def test_another_kind_of_data_set_is_refused(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text(json.dumps({"schema": 1}), encoding="utf-8")
    with pytest.raises(DataError, match="no click log"):
        load_clicks(tmp_path)
