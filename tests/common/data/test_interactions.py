from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from common.data.interactions import Interactions
from common.errors import DataError
from tests.common.data.strategies import USERS, interactions


@given(interactions())
def test_rows_are_sorted_and_offsets_find_each_user(known: Interactions) -> None:
    for user in range(USERS):
        rows = known.of_user(user)
        assert (known.users[rows] == user).all()
        assert (np.diff(known.times[rows]) >= 0).all()
    assert known.offsets[-1] == len(known)


def test_equal_times_keep_the_order_they_came_in() -> None:
    known = Interactions(("a", "b"), [1, 0, 1, 1], [3, 2, 1, 0], [5, 9, 5, 4])
    assert known.items.tolist() == [2, 0, 3, 1]
    assert (known.users.dtype, known.items.dtype, known.times.dtype) == (np.int32, np.int32, np.int64)


def test_order_alone_is_kept_where_there_are_no_times() -> None:
    assert Interactions(("a", "b"), [1, 0, 1], [3, 2, 1]).items.tolist() == [2, 3, 1]


@given(interactions())
def test_rows_of_several_users_come_user_by_user(known: Interactions) -> None:
    expected = [row for user in (4, 0, 2) for row in range(known.of_user(user).start, known.of_user(user).stop)]
    assert known.rows_of([4, 0, 2]).tolist() == expected


def test_the_caller_keeps_its_arrays_and_ours_cannot_change() -> None:
    items = np.array([3, 1])
    known = Interactions(("a",), [0, 0], items)
    items[0] = 0
    assert known.items.tolist() == [3, 1]
    with pytest.raises(ValueError, match="read-only"):
        known.items[0] = 2


def test_digest_tells_order_from_times() -> None:
    rows = (("a",), [0, 0], [3, 1])
    assert Interactions(*rows).digest == Interactions(*rows).digest
    assert (
        len({Interactions(*rows).digest, Interactions(*rows, [1, 2]).digest, Interactions(*rows, [1, 3]).digest}) == 3
    )


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ((("a",), [0, 0], [1]), r"differ in length: \[2, 1\]"),
        ((("a", "a"), [0], [1]), "twice"),
        ((("a",), [1], [1]), "positions 1 to 1.*1 user keys"),
        ((("a",), [0], [-1]), "negative position -1"),
        ((("a",), [0], [1.5]), "items must be a list of integers"),
        ((("a",), [0], [2**40]), "more than int32 holds"),
    ],
)
def test_refuses_what_are_no_interactions(fields: tuple, said: str) -> None:
    with pytest.raises(DataError, match=said):
        Interactions(*fields)
