"""fellrec/python/data.py: data sets from Python."""

from __future__ import annotations

from pathlib import Path

import pytest

import fellrec


def tables(folder: Path) -> tuple[Path, Path]:
    folder.mkdir(exist_ok=True)
    items, log = folder / "items.csv", folder / "log.csv"
    items.write_text("item_id,title\n" + "".join(f"p{n},Thing {n}\n" for n in range(6)))
    rows = [(user, (user + step) % 6, 100 * step) for user in range(8) for step in range(4)]
    log.write_text("user_id,item_id,timestamp\n" + "".join(f"u{u},p{i},{1_700_000_000 + t}\n" for u, i, t in rows))
    return items, log


def test_two_tables_become_a_set_that_is_listed(fellrec_home: Path, tmp_path: Path) -> None:
    items, log = tables(tmp_path / "raw")
    found = fellrec.prepare("shop", items=items, interactions=str(log))
    assert found["counts"] == {"users": 8, "items": 6, "interactions": 32} and found["titles"][0] == "Thing 0"
    assert found["read"][0] == "rows read: 38" and Path(found["folder"]) == fellrec_home / "data" / "shop"
    small = fellrec.prepare("shop", items=items, interactions=log, top_items=4, called="small")
    assert small["counts"]["items"] == 4
    assert [(row["name"], row["counts.items"]) for row in fellrec.sets()] == [("shop", 6), ("small", 4)]


def test_another_home_is_left_alone(fellrec_home: Path, tmp_path: Path) -> None:
    items, log = tables(tmp_path / "raw")
    fellrec.prepare("shop", items=items, interactions=log, home=tmp_path / "other")
    assert fellrec.sets() == [] and [row["name"] for row in fellrec.sets(home=tmp_path / "other")] == ["shop"]


def test_what_cannot_be_prepared_is_refused(fellrec_home: Path, tmp_path: Path) -> None:
    with pytest.raises(fellrec.ConfigError, match="shop"):
        fellrec.prepare("shop")
    with pytest.raises(fellrec.DataError, match="licence"):
        fellrec.prepare("ml-latest-small")
    with pytest.raises(fellrec.DataError, match="movies.csv"):
        fellrec.prepare("ml-latest-small", tmp_path)
