from __future__ import annotations

from pathlib import Path

import pytest

from common.data.place import placed


def _only(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_first_to_finish_takes_the_place(tmp_path: Path) -> None:
    place = tmp_path / "deep" / "place"
    with placed(place) as slow:
        (slow / "who").write_text("slow")
        with placed(place) as quick:
            (quick / "who").write_text("quick")
        assert (place / "who").read_text() == "quick"
    assert (place / "who").read_text() == "quick"
    assert _only(tmp_path / "deep") == ["place"]


def test_replace_puts_the_new_folder_where_the_former_was(tmp_path: Path) -> None:
    place = tmp_path / "place"
    for text in ("first", "second"):
        with placed(place, replace=True) as building:
            (building / text).touch()
    assert _only(place) == ["second"] and _only(tmp_path) == ["place"]


def test_nothing_appears_where_building_fails(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="half way"), placed(tmp_path / "place") as building:
        (building / "part").touch()
        raise RuntimeError("half way")
    assert _only(tmp_path) == []
