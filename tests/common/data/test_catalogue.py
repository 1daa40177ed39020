from __future__ import annotations

import pytest

from common.data.catalogue import Catalogue
from common.errors import DataError
from tests.common.data.strategies import catalogue


def test_position_finds_keys_and_names_the_nearest_of_a_missing_one() -> None:
    known = Catalogue("films", ("alpha", "beta"), ({"title": "A"}, {"title": "B"}))
    assert known.position("beta") == 1
    assert known.titles == ("A", "B")
    with pytest.raises(DataError, match=r"no item 'betta'.*nearest key is 'beta'"):
        known.position("betta")


def test_position_in_an_empty_catalogue() -> None:
    with pytest.raises(DataError, match="empty"):
        Catalogue("none", (), ()).position("x")


def test_digest_follows_content_and_order_not_the_name() -> None:
    items = ({"title": "A", "genre": "x"}, {"title": "B"})
    first = Catalogue("one", ("a", "b"), items)
    assert first.digest == Catalogue("two", ("a", "b"), items).digest
    assert first.digest != Catalogue("one", ("b", "a"), items).digest
    assert first.digest != Catalogue("one", ("a", "b"), ({"title": "A", "genre": "y"}, {"title": "B"})).digest


def test_subset_keeps_the_order_asked_for() -> None:
    part = catalogue().subset([4, 1])
    assert part.keys == ("i4", "i1") and part.titles == ("Title 4", "Title 1")


@pytest.mark.parametrize(
    ("keys", "items", "said"),
    [
        (("a",), (), "1 keys for 0 items"),
        (("a", "a"), ({"title": "A"}, {"title": "B"}), "twice"),
        (("a",), ({"title": ""},), "'a'.*no title"),
        (("a",), ({"genre": "x", "title": "A"},), "'a'.*no title as its first"),
        (("a",), ({},), "'a'.*no title"),
    ],
)
def test_refuses_what_is_no_catalogue(keys: tuple, items: tuple, said: str) -> None:
    with pytest.raises(DataError, match=said):
        Catalogue("toy", keys, items)
