from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from common.data.filters import Filters
from common.data.interactions import Interactions
from common.data.summary import listing, summary
from common.errors import DataError
from tests.common.data.strategies import dataset


def _prepared(folder: Path, timed: bool = True) -> Path:
    users, items = [0, 0, 0, 1, 1], [0, 1, 2, 1, 2]
    times = np.arange(5) * 86_400 if timed else None
    found = Filters(top_items=2).apply(dataset(Interactions(("a", "b"), np.array(users), np.array(items), times)))
    found.save(folder)
    return folder


def test_a_summary_counts_what_is_there(tmp_path: Path) -> None:
    found = summary(_prepared(tmp_path / "toy"))
    assert json.loads(json.dumps(found)) == found
    assert found["counts"] == {"users": 2, "items": 2, "interactions": 4} and found["density"] == 1.0
    assert found["history_lengths"] == {"least": 2, "median": 2.0, "mean": 2.0, "90%": 2.0, "most": 2}
    assert found["titles"] == ["Title 1", "Title 2"] and found["attributes"] == ["title"]
    assert found["times"] == ["1970-01-02", "1970-01-05"] and found["splits"] == ["leave-last-out", "global-time"]
    assert found["filters"] == ["its most popular 2 items"] and found["users_with_three_or_more"] == 0


def test_without_times_there_is_one_split(tmp_path: Path) -> None:
    found = summary(_prepared(tmp_path / "toy", timed=False))
    assert found["times"] is None and found["splits"] == ["leave-last-out"]


def test_a_click_log_is_told_by_its_manifest(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    manifest = {
        "schema": 1,
        "kind": "clicks",
        "name": "log",
        "generated": False,
        "licence": "none",
        "source": "a test",
        "digests": {"rows": "00"},
        "counts": {"users": 2, "rows": 3},
    }
    (tmp_path / "log" / "dataset.json").write_text(json.dumps(manifest))
    found = summary(tmp_path / "log")
    assert found["kind"] == "clicks" and found["counts"]["rows"] == 3 and listing(tmp_path) == [found]


def test_the_listing_names_the_damaged_and_passes_over_the_rest(tmp_path: Path) -> None:
    assert listing(tmp_path / "nowhere") == []
    _prepared(tmp_path / "toy")
    for name, text in (("bad", "{"), (".raw", "{}"), ("empty", '{"schema": 1}')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "dataset.json").write_text(text)
    (tmp_path / "notes").mkdir()
    found = listing(tmp_path)
    assert [row["name"] for row in found] == ["bad", "empty", "toy"]
    assert "damaged" in found[0] and "damaged" in found[1] and found[2]["counts"]["items"] == 2
    with pytest.raises(DataError, match="damaged data set"):
        summary(tmp_path / "bad")
