"""The tables of docs/results.md that come from comparisons are those of the comparisons' files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fellrec.commands.compare import comparison_table

CHECKOUT = Path(__file__).resolve().parents[2]
FILES = sorted((CHECKOUT / "benchmarks" / "results" / "comparisons").glob("*.json"))
METRICS = ("auc", "user_auc")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
@pytest.mark.parametrize("metric", METRICS)
def test_a_table_is_what_its_file_says(path: Path, metric: str) -> None:
    page = (CHECKOUT / "docs" / "results.md").read_text(encoding="utf-8")
    table = "\n".join(comparison_table(json.loads(path.read_text(encoding="utf-8")), metric))
    assert table in page, table


def test_there_are_comparisons() -> None:
    assert FILES
