"""The tables of docs/results.md that come from comparisons are those of the comparisons' files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.poison import table
from fellrec.commands.compare import comparison_table

CHECKOUT = Path(__file__).resolve().parents[2]
FILES = sorted((CHECKOUT / "benchmarks" / "results" / "comparisons").glob("*.json"))
METRICS = ("auc", "user_auc", "recall@10")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_table_is_what_its_file_says(path: Path) -> None:
    page = (CHECKOUT / "docs" / "results.md").read_text(encoding="utf-8")
    found = json.loads(path.read_text(encoding="utf-8"))
    told = [metric for metric in METRICS if metric in next(iter(found["strategies"].values()))]
    assert told
    for metric in told:
        expected = "\n".join(comparison_table(found, metric))
        assert expected in page, expected


def test_there_are_comparisons() -> None:
    assert FILES


def test_the_table_of_a_hostile_client_is_what_its_file_says() -> None:
    found = json.loads((CHECKOUT / "benchmarks" / "results" / "poison.json").read_text(encoding="utf-8"))
    assert table(found["results"]) in (CHECKOUT / "docs" / "results.md").read_text(encoding="utf-8")
    assert all(one["ratio"] >= one["target"] for one in found["results"] if one["target"])
