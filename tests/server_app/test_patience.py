"""server_app/patience.py: how long a round may take."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server_app.patience import FACTOR, GRACE, LEAST_SPEED, ROUNDS, Patience


def test_a_client_that_nobody_knows_has_the_configured_time() -> None:
    patience = Patience(3600)
    patience.note("a", 5)
    assert patience.seconds(["a", "b"], {}) == 3600


def test_a_known_client_has_a_multiple_of_its_slowest_round_and_its_payload() -> None:
    patience = Patience(3600)
    for seconds in (10, 20, 5):
        patience.note("a", seconds)
    assert patience.seconds(["a"], {"a": int(LEAST_SPEED)}) == FACTOR * 20 + GRACE + 1


def test_old_rounds_are_forgotten() -> None:
    patience = Patience(3600)
    for seconds in (100, *[1] * ROUNDS):
        patience.note("a", seconds)
    assert patience.seconds(["a"], {}) == FACTOR + GRACE


@given(st.lists(st.floats(0, 1e5), min_size=1, max_size=8), st.integers(0, 1 << 40))
def test_never_beyond_the_configured_time_nor_below_what_was_seen(seen: list[float], payload: int) -> None:
    patience = Patience(1000)
    for seconds in seen:
        patience.note("a", seconds)
    given_ = patience.seconds(["a"], {"a": payload})
    assert min(1000, max(seen[-ROUNDS:])) <= given_ <= 1000


def test_nobody_to_wait_for() -> None:
    assert Patience(7).seconds([], {}) == pytest.approx(7)
