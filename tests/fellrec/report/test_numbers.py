"""fellrec/report/numbers.py: what people read, and whatever stands where a number should."""

from __future__ import annotations

import math
from typing import Any

import pytest

from fellrec.report import numbers


@pytest.mark.parametrize("odd", [None, "3", True, math.nan, math.inf, -math.inf, 1e301, 10**400, [1], {}])
def test_what_is_no_finite_number_is_written_as_nothing(odd: Any) -> None:
    assert numbers.real(odd) is None
    for write in (
        numbers.decimal,
        numbers.short,
        numbers.count,
        numbers.percent,
        numbers.size,
        numbers.duration,
        numbers.moment,
    ):
        assert write(odd) == numbers.NOTHING


def test_what_is_too_small_for_an_axis_is_nought() -> None:
    assert numbers.real(1e-310) == 0.0 and numbers.real(-1e-299) == -1e-299


def test_a_mapping_gives_its_numbers_only() -> None:
    assert numbers.reals({"a": 1, "b": None, "c": "x", 4: 2.5}) == {"a": 1.0, "4": 2.5}
    assert numbers.reals(None) == numbers.reals([1]) == {}


def test_units_fit() -> None:
    sizes = {0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 46641273.9: "44.5 MiB", 3 << 40: "3.0 TiB"}
    assert {value: numbers.size(value) for value in sizes} == sizes
    times = {0.26: "0.3 s", 42: "42 s", 496.8: "8 min", 7500: "2 h 05 min"}
    assert {value: numbers.duration(value) for value in times} == times
    assert numbers.count(1234567) == "1,234,567" and numbers.percent(0.685) == "68.5 %"
    assert numbers.moment(0) == "1970-01-01 00:00:00 UTC" and numbers.moment(1e300) == numbers.NOTHING
