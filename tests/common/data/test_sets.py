from __future__ import annotations

import pytest

from common.data.sets import check_name, parse_sets
from common.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "sets"),
    [
        ("sample", [("sample", 5)]),
        ("ml-latest-small:1 amazon-games:4", [("ml-latest-small", 1), ("amazon-games", 4)]),
        ("a:2+b", [("a", 2), ("b", 5)]),
        ("  a  +  b:0 ", [("a", 5), ("b", 0)]),
    ],
)
def test_names_with_and_without_counts(text: str, sets: list) -> None:
    assert parse_sets(text) == sets


def test_the_default_can_be_chosen() -> None:
    assert parse_sets("a b:2", default_clients=7) == [("a", 7), ("b", 2)]


@pytest.mark.parametrize(
    "part", ["a:", ":3", "a:b", "a:-1", "a:1.5", "a:1:2", "../a", "a/b", ".a", "a:99999999", "a:²"]
)
def test_the_bad_part_is_named(part: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_sets(f"sample {part}")
    assert repr(part) in str(caught.value)


def test_a_set_twice_and_none_at_all() -> None:
    with pytest.raises(ConfigError, match="'a' stands twice"):
        parse_sets("a:1 a:2")
    with pytest.raises(ConfigError, match="no data set"):
        parse_sets(" + ")


@pytest.mark.parametrize("name", ["", "..", "a b", "x" * 65, "-a", "a\n"])
def test_names_that_cannot_be_folders(name: str) -> None:
    with pytest.raises(ConfigError, match="cannot name a data set"):
        check_name(name)
