from __future__ import annotations

from pathlib import Path

import pytest

from common.data.readers.report import ReadReport, Tally
from common.errors import DataError


def _tally(good: int, bad: int, limit: float) -> Tally:
    tally = Tally(ReadReport(), Path("films.csv"), limit)
    for _ in range(good):
        tally.good()
    for row in range(bad):
        tally.refuse("empty title", 10 + row, ["x" * 500])
    return tally


def test_bad_rows_are_counted_and_the_first_few_named() -> None:
    tally = _tally(93, 7, 0.07)
    tally.close()
    bad = tally.report.bad["films.csv: empty title"]
    assert (bad.count, bad.rows, tally.report.rows) == (7, [10, 11, 12, 13, 14], 100)
    assert len(bad.first) <= 120


def test_past_the_limit_the_file_is_refused() -> None:
    with pytest.raises(DataError) as caught:
        _tally(92, 8, 0.07).close()
    said = str(caught.value)
    assert "'films.csv': 8 of 100 rows are bad, the limit is 7.0%" in said
    assert "empty title: 8 (rows 10, 11, 12, 13, 14, ...; the first reads ['xxx" in said and len(said) < 400


def test_no_rows_and_no_good_rows_are_refused_whatever_the_limit() -> None:
    with pytest.raises(DataError, match="holds no rows"):
        _tally(0, 0, 1.0).close()
    with pytest.raises(DataError, match="2 of 2 rows are bad"):
        _tally(0, 2, 1.0).close()
