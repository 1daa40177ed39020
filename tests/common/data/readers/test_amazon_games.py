from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from common.data.readers.amazon_games import read
from common.errors import DataError
from tests.real_data import real_data

ITEMS = 'item_id:token\ttitle:token_seq\n0\tGame &amp;amp; Watch\n1\t"Quoted" Game\n2\tTetris\n3\tTetris\n'
TEST = "user_id:token\titem_id_list:token_seq\titem_id:token\n7\t2 0\t1\n8\t3 1 0\t2\n"
VALID = "user_id:token\titem_id_list:token_seq\titem_id:token\n7\t2\t0\n8\t1 3 1\t0\n"


def _write(folder: Path, items: str = ITEMS, test: str = TEST, valid: str = VALID) -> Path:
    for ending, text in ((".item", items), (".test.inter", test), (".valid.inter", valid)):
        (folder / f"Games{ending}").write_text(text, encoding="utf-8")
    return folder


def test_a_sequence_is_history_and_target_of_the_test_file(tmp_path: Path) -> None:
    dataset, report = read(_write(tmp_path))
    assert dataset.catalogue.titles == ("Game & Watch", '"Quoted" Game', "Tetris", "Tetris")
    known = dataset.interactions
    assert known.user_keys == ("7", "8") and known.times is None
    assert [known.items[known.of_user(user)].tolist() for user in (0, 1)] == [[2, 0, 1], [3, 1, 0, 2]]
    assert (report.duplicate_titles, report.notes, report.bad) == (1, [], {})


def test_valid_rows_that_tell_another_story_are_counted(tmp_path: Path) -> None:
    _, report = read(_write(tmp_path, valid=VALID.replace("7\t2\t0", "7\t2\t3") + "9\t1\t2\n"))
    assert report.notes == ["2 rows of Games.valid.inter do not lead up to their user's row in Games.test.inter"]


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    test = "item_id:token\tuser_id:token\titem_id_list:token_seq\n1\t7\t2 0\n"
    dataset, _ = read(_write(tmp_path, test=test))
    assert dataset.interactions.items.tolist() == [2, 0, 1]


def test_malformed_rows(tmp_path: Path) -> None:
    folder = _write(tmp_path, items=ITEMS + "4\n", test=TEST + "7\t1\t2\n9\t1\n9\t1\t99\n")
    dataset, report = read(folder, limit=0.4)
    assert {reason: (bad.count, bad.rows) for reason, bad in report.bad.items()} == {
        "Games.item: 1 fields for 2": (1, [6]),
        "Games.test.inter: user comes twice": (1, [4]),
        "Games.test.inter: 2 fields for 3": (1, [5]),
        "Games.test.inter: unknown item": (1, [6]),
    }
    assert len(dataset.interactions) == 8
    with pytest.raises(DataError, match=r"'Games\.item': 1 of 5 rows are bad"):
        read(folder)


def test_missing_files_and_columns_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"where one file '\*\.item' should be"):
        read(tmp_path)
    _write(tmp_path, test=TEST.replace("item_id_list", "history"))
    with pytest.raises(
        DataError, match=r"'Games\.test\.inter' has no column 'item_id_list', only \['user_id', 'history'"
    ):
        read(tmp_path)
    (tmp_path / "Other.item").touch()
    with pytest.raises(DataError, match=r"\['Games\.item', 'Other\.item'\]"):
        read(tmp_path)


def test_real_sequences_agree() -> None:
    dataset, report = read(real_data("amazon-games"))
    assert report.notes == [] and report.bad == {}
    assert dataset.catalogue.titles[0] == "Fire Emblem: The Sacred Stones"
    assert (dataset.users, len(dataset.catalogue), len(dataset.interactions)) == (50546, 16859, 440264)
    assert np.diff(dataset.interactions.offsets).max() == 50
    assert not any("&amp;" in title or "&#" in title or "&quot;" in title for title in dataset.catalogue.titles)
