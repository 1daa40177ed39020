from __future__ import annotations

from dataclasses import replace

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.data.attributes import Attributes
from common.data.click_split import check_leakage, check_testable, first_of_moment, part_rows, split_clicks
from common.data.clicks import ClickLog
from common.data.split import Part
from common.errors import ConfigError, DataError

PROPERTY = hypothesis.settings(deadline=None, max_examples=60)

USERS, ITEMS = 4, 5


@st.composite
def logs(draw: st.DrawFn) -> ClickLog:
    """Up to 60 rows in any order, with pages (rows of one moment) and users without rows."""
    row = st.tuples(*(st.integers(0, top) for top in (USERS - 1, ITEMS - 1, 1, 12)))
    rows = np.array(draw(st.lists(row, max_size=60)), dtype=np.int64).reshape(-1, 4)
    return click_log(*rows.T)


def click_log(users: object, items: object, clicks: object, times: object, **changes: object) -> ClickLog:
    user_attributes = Attributes.encode([{"age": "old" if u % 2 else "young"} for u in range(USERS)], ["age"])
    item_attributes = Attributes.encode(
        [{"kind": str(i % 3), "tag": "" if i else "new"} for i in range(ITEMS)], ["kind", "tag"]
    )
    keys = (tuple(f"u{u}" for u in range(USERS)), tuple(f"i{i}" for i in range(ITEMS)))
    fields = {"generated": True, "licence": "none", "source": "a test"} | changes
    return ClickLog("toy", *keys, users, items, clicks, times, user_attributes, item_attributes, **fields)


def test_rows_are_sorted_by_user_time_and_order() -> None:
    log = click_log([1, 0, 1, 1], [0, 1, 2, 3], [1, 0, 0, 1], [9, 5, 3, 9])
    assert log.users.tolist() == [0, 1, 1, 1] and log.items.tolist() == [1, 2, 0, 3]
    assert log.clicks.tolist() == [0, 0, 1, 1] and log.offsets.tolist() == [0, 1, 4, 4, 4]


@PROPERTY
@given(logs())
def test_the_split_leaks_nothing_and_keeps_pages_whole(log: ClickLog) -> None:
    divided = split_clicks(log)
    check_leakage(divided)
    first = first_of_moment(divided)
    assert (divided.parts == divided.parts[first]).all()
    assert sum(len(part_rows(divided, part)) for part in Part) == len(log)
    for user in range(USERS):
        own = divided.parts[divided.offsets[user] : divided.offsets[user + 1]]
        assert not len(own) or own[0] == Part.TRAIN


def test_the_shares_are_exact_where_no_two_rows_share_a_moment() -> None:
    log = split_clicks(click_log([0] * 10, [0] * 10, [0] * 10, np.arange(10)))
    assert log.parts.tolist() == [0] * 6 + [1] * 2 + [2] * 2


def test_a_page_across_a_border_stays_in_the_earlier_part() -> None:
    log = split_clicks(click_log([0] * 10, [0] * 10, [0] * 10, [0, 1, 2, 3, 4, 5, 5, 5, 6, 7]))
    assert log.parts.tolist() == [0] * 8 + [2] * 2


def test_leakage_is_found() -> None:
    log = click_log([0, 0, 0], [0, 1, 2], [0, 1, 0], [1, 2, 2])
    check_leakage(replace(log, parts=np.array([0, 1, 1], dtype=np.int8)))
    for parts in ([1, 0, 0], [0, 0, 2]):
        with pytest.raises(DataError, match="'u0'"):
            check_leakage(replace(log, parts=np.array(parts, dtype=np.int8)))
    with pytest.raises(DataError, match="not split"):
        check_leakage(log)


@PROPERTY
@given(logs(), st.permutations(range(USERS)), st.integers(0, USERS))
def test_a_restricted_log_has_these_users_rows(log: ClickLog, order: list[int], count: int) -> None:
    log = split_clicks(log)
    part = log.restrict(order[:count], "part")
    assert part.user_keys == tuple(log.user_keys[user] for user in order[:count])
    for place, user in enumerate(order[:count]):
        mine, theirs = slice(*part.offsets[place : place + 2]), slice(*log.offsets[user : user + 2])
        for column in ("items", "clicks", "times", "parts"):
            assert getattr(part, column)[mine].tolist() == getattr(log, column)[theirs].tolist()
        assert part.user_attributes.codes[place].tolist() == log.user_attributes.codes[user].tolist()


def test_the_digest_notices_every_column() -> None:
    log = click_log([0, 1], [0, 1], [0, 1], [1, 2])
    others = [
        click_log([0, 2], [0, 1], [0, 1], [1, 2]),
        click_log([0, 1], [0, 2], [0, 1], [1, 2]),
        click_log([0, 1], [0, 1], [1, 1], [1, 2]),
        click_log([0, 1], [0, 1], [0, 1], [1, 3]),
        split_clicks(log),
        replace(log, user_keys=("a", "b", "c", "d")),
    ]
    assert len({log.digest, *(other.digest for other in others)}) == 1 + len(others)
    assert log.digest == click_log([1, 0], [1, 0], [1, 0], [2, 1]).digest


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (([0], [0, 1], [0], [0]), "differ in length"),
        (([4], [0], [0], [0]), "users hold"),
        (([0], [5], [0], [0]), "items hold"),
        (([0], [0], [2], [0]), "clicks hold"),
        (([0], [0], [0.5], [0]), "not a list of integers"),
        (([0], [0], [300], [0]), "clicks hold 300"),
    ],
)
def test_rows_that_make_no_log_are_refused(columns: tuple, said: str) -> None:
    with pytest.raises(DataError, match=said):
        click_log(*columns)


def test_other_nonsense_is_refused() -> None:
    log = click_log([0], [0], [0], [0])
    with pytest.raises(DataError, match="parts hold"):
        replace(log, parts=np.array([3], dtype=np.int8))
    with pytest.raises(DataError, match="2 keys of users"):
        replace(log, user_keys=("a", "a"))
    with pytest.raises(DataError, match="repeat or lie outside"):
        log.restrict([0, 0], "part")
    for wrong in ((0.6, 0.4), (0.5, 0.6, -0.1), (float("nan"), 0.5, 0.5)):
        with pytest.raises(ConfigError, match="three positive shares"):
            split_clicks(log, wrong)


@PROPERTY
@given(logs())
def test_repeated_rows_are_those_beyond_the_first_of_each(log: ClickLog) -> None:
    rows = list(zip(log.users.tolist(), log.items.tolist(), log.times.tolist(), strict=True))
    assert log.repeated == len(rows) - len(set(rows))


@PROPERTY
@given(logs())
def test_a_log_is_refused_exactly_where_its_split_has_no_test_rows(log: ClickLog) -> None:
    if (split_clicks(log).parts == Part.TEST).any():
        check_testable(log)
    else:
        with pytest.raises(DataError, match="no user of click log 'toy' can be tested"):
            check_testable(log)
