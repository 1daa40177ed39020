from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.data.dataset import Dataset
from common.data.filters import Filters, core
from common.data.interactions import Interactions
from common.data.readers.amazon_games import read
from common.data.split import split
from common.errors import ConfigError, DataError
from tests.common.data.strategies import dataset, interactions
from tests.real_data import real_data


def _counts(found: Dataset) -> tuple[np.ndarray, np.ndarray]:
    known = found.interactions
    return np.bincount(known.users, minlength=found.users), np.bincount(known.items, minlength=len(found.catalogue))


def _largest_core(rows: set[tuple[int, int, int]], least: int) -> set[tuple[int, int, int]]:
    """By the definition: one user or item with too few goes at a time, until there is none."""
    while True:
        for column in (0, 1):
            for value in sorted({row[column] for row in rows}):
                of_it = {row for row in rows if row[column] == value}
                if len(of_it) < least:
                    rows = rows - of_it
                    break
            else:
                continue
            break
        else:
            return rows


@given(interactions(), st.integers(2, 4))
def test_the_core_is_the_largest_whatever_the_order(known: Interactions, least: int) -> None:
    kept = core(known, np.ones(len(known), dtype=bool), least)
    rows = [
        (int(user), int(item), place) for place, (user, item) in enumerate(zip(known.users, known.items, strict=True))
    ]
    assert {row for row, stays in zip(rows, kept, strict=True) if stays} == _largest_core(set(rows), least)


@given(interactions(least=12), st.integers(2, 4), st.integers(2, 5))
@settings(max_examples=200)
def test_both_filters_hold_for_what_is_left(known: Interactions, least: int, top: int) -> None:
    filters = Filters(least, top)
    try:
        found = filters.apply(dataset(known))
    except DataError:
        return
    users, items = _counts(found)
    assert users.min() >= least and items.min() >= least and len(found.catalogue) <= top
    assert found.filters == filters.words() and found.source.endswith(f"its most popular {top} items")


def test_the_most_popular_items_stay_the_earlier_first_where_two_are_alike() -> None:
    users = [0, 0, 0, 1, 1, 1, 2, 2, 3]
    items = [6, 2, 4, 6, 4, 2, 6, 1, 1]
    known = Interactions(tuple("abcd"), np.array(users), np.array(items), np.arange(9))
    found = Filters(top_items=2).apply(dataset(known))
    # Item 6 has three interactions; 1, 2 and 4 have two each, and 1 is the earliest. a, b and d are left with one item.
    assert found.catalogue.keys == ("i1", "i6")
    assert found.interactions.user_keys == ("c",)
    assert [found.catalogue.keys[item] for item in found.interactions.items] == ["i6", "i1"]


def test_users_with_fewer_than_two_go_with_the_top_items() -> None:
    known = Interactions(("a", "b", "c"), np.array([0, 0, 1, 1, 2, 2]), np.array([3, 5, 5, 3, 3, 0]), None)
    found = Filters(top_items=2).apply(dataset(known))
    assert found.catalogue.keys == ("i3", "i5") and found.interactions.user_keys == ("a", "b")
    assert found.interactions.items.tolist() == [0, 1, 1, 0] and found.interactions.times is None
    assert found.name == "toy" and found.renamed("toy-2").catalogue.name == "toy-2"


def test_popularity_is_counted_in_the_core() -> None:
    # Item 0 is met most, but by people who met nothing else.
    users = [0, 1, 2, 3, 4, 4, 5, 5, 6, 6]
    items = [0, 0, 0, 0, 1, 2, 1, 2, 1, 2]
    known = Interactions(tuple("abcdefg"), np.array(users), np.array(items), None)
    assert Filters(core=2, top_items=2).apply(dataset(known)).catalogue.keys == ("i1", "i2")
    with pytest.raises(DataError, match=r"top_items is 3, and 2 items"):
        Filters(core=2, top_items=3).apply(dataset(known))


def test_no_filter_is_the_same_set() -> None:
    known = Interactions(("a",), np.array([0]), np.array([0]), None)
    whole = dataset(known)
    assert Filters().apply(whole) is whole and Filters().suffix == "" and Filters(5, 100).suffix == "-core5-top100"


def test_what_cannot_be_filtered() -> None:
    for wrong in ({"core": -1}, {"core": 1}, {"top_items": -5}, {"top_items": 1}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            Filters(**wrong)
    known = Interactions(("a",), np.array([0, 0, 0]), np.array([0, 1, 2]), None)
    with pytest.raises(DataError, match="nothing of data set 'toy' is left: its 5-core"):
        Filters(core=5).apply(dataset(known))
    with pytest.raises(DataError, match="split already"):
        parts = split(known, "leave-last-out")
        Filters(core=2).apply(replace(dataset(known), parts=parts, split="leave-last-out"))


def test_filters_are_kept_on_disk_and_in_shards(tmp_path: Path) -> None:
    known = Interactions(("a", "b"), np.array([0, 0, 1, 1]), np.array([3, 5, 5, 3]), None)
    found = Filters(top_items=2).apply(dataset(known))
    found.save(tmp_path / "toy")
    again = Dataset.load(tmp_path / "toy")
    assert again.filters == ("its most popular 2 items",) and again.source == found.source
    assert again.restrict([1], "toy-1").filters == again.filters


def test_real_sequences_filtered() -> None:

    found = Filters(core=5, top_items=1000).apply(read(real_data("amazon-games"))[0])
    users, items = _counts(found)
    assert users.min() >= 5 and items.min() >= 5 and len(found.catalogue) == 1000
