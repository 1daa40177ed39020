"""fellrec/report/chapters/overview.py: how sure a mean is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from common.table import result_table
from fellrec.report.chapters.overview import doubt
from fellrec.report.page import report
from fellrec.report.record import Record
from tests.fellrec.report.logs import folder, result


def test_the_margin_is_at_least_that_of_hits_and_misses() -> None:
    hits = np.array([1.0] * 55 + [0.0] * 555)
    margin = 1.96 * hits.std() / np.sqrt(len(hits))
    assert f"± {margin:.4f}" in doubt("recall@10", hits.mean(), len(hits))


@pytest.mark.parametrize(
    "case", [("auc", 0.5, 100), ("recall@10", 0.5, 1), ("recall@10", 1.5, 100), ("recall@10", 1.0, 6)]
)
def test_no_margin_is_told_where_it_would_not_hold(case: tuple[str, float, float]) -> None:
    assert "±" not in doubt(*case)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            {"untested": {"met_before": 4, "untried": 2}},
            "users who cannot be tested: 4 had their test items before, 2 have no history or no test item",
        ),
        ({"untested": {"met_before": 0, "untried": 0}}, ""),
        ({"repeated": 7}, "7 rows repeat the user, item and moment of another"),
    ],
)
def test_what_data_leaves_out_or_repeats_is_told(tmp_path: Path, more: dict, said: str) -> None:
    ended = result()
    ended["data"] |= more
    page = report(Record.read(folder(tmp_path / "one", [], ended)))
    assert (said in page) if said else ("cannot be tested" not in page)
    clicks = "repeated" in more
    if clicks:
        ended["metrics"] |= {
            "test": {"rows": 1, "auc": 0.5},
            "validation": {"rows": 1},
            "balance": {"auc": None},
            "baselines": {"warm_start": {"rows": 1}},
        }
        ended["cost"]["client"]["bytes_up"] = None
    else:
        row = dict.fromkeys(("recall@10", "recall@20", "ndcg@10", "ndcg@20"), 0.5)
        ended["metrics"] |= {"clients": {}, "test": row, "baselines": {"popularity": row, "item_knn": row}}
    assert (said in result_table(ended)) if said else len(result_table(ended)) == 3
