"""fellrec/report/scale.py: every value lies on its axis."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fellrec.report.numbers import real
from fellrec.report.scale import rounded, whole

VALUES = st.lists(st.floats(-1e9, 1e9).map(real), max_size=20)


@given(VALUES, st.booleans())
def test_values_lie_between_the_ends_and_ticks_are_even(values: list[float], zero: bool) -> None:
    scale = rounded(values, 0.0, 100.0, zero)
    slack = 1e-6 * max(1.0, scale.high - scale.low)
    assert all(scale.low - slack <= value <= scale.high + slack for value in values)
    assert not zero or scale.low <= 0 <= scale.high
    assert 2 <= len(scale.ticks) <= 8
    gaps = [after - before for before, after in zip(scale.ticks, scale.ticks[1:], strict=False)]
    assert all(abs(gap - gaps[0]) <= 1e-6 * abs(gaps[0]) for gap in gaps)
    assert len({scale.label(tick) for tick in scale.ticks}) == len(scale.ticks) or abs(gaps[0]) < 1e-3 * abs(scale.high)
    assert scale(scale.low) == 0.0 and abs(scale(scale.high) - 100.0) < 1e-9


@given(st.lists(st.integers(0, 10_000), max_size=20))
def test_rounds_have_whole_ticks(rounds: list[int]) -> None:
    scale = whole(rounds, 0.0, 100.0)
    assert all(tick == int(tick) for tick in scale.ticks) and len(scale.ticks) <= 10
    assert all(-1e-9 <= scale(at) <= 100 + 1e-9 for at in rounds)


def test_a_round_alone_stands_in_the_middle() -> None:
    assert whole([3], 0.0, 100.0)(3) == 50.0


def test_ticks_close_together_have_digits_of_their_own() -> None:
    scale = rounded([0.7046, 0.7057], 0.0, 100.0)
    assert [scale.label(tick) for tick in scale.ticks] == ["0.7045", "0.7050", "0.7055", "0.7060"]
    assert [rounded([0.0, 900.0], 0.0, 1.0).label(tick) for tick in (0.0, 500.0)] == ["0", "500"]
