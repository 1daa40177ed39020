"""fellrec/report/chapters/overview.py: how sure a mean is."""

from __future__ import annotations

import numpy as np
import pytest

from fellrec.report.chapters.overview import doubt


def test_the_margin_is_at_least_that_of_hits_and_misses() -> None:
    hits = np.array([1.0] * 55 + [0.0] * 555)
    margin = 1.96 * hits.std() / np.sqrt(len(hits))
    assert f"± {margin:.4f}" in doubt("recall@10", hits.mean(), len(hits))


@pytest.mark.parametrize(
    "case", [("auc", 0.5, 100), ("recall@10", 0.5, 1), ("recall@10", 1.5, 100), ("recall@10", 1.0, 6)]
)
def test_no_margin_is_told_where_it_would_not_hold(case: tuple[str, float, float]) -> None:
    assert "±" not in doubt(*case)
