"""common/recommenders/groups.py: what a client of a language model is grouped by."""

from __future__ import annotations

import pytest

from common.config import RunConfig, from_flat, parse_groups
from common.errors import ConfigError
from common.recommenders.groups import group_codes, group_values

TWO = "branch=north,south chain=a,b,c"


def config(groups: str = TWO, **more: object) -> RunConfig:
    gated = {"strategy.name": "fedpa", "model.adapter": "gated", "split.on": False, "fedpa.groups": groups}
    return from_flat(gated | more)


def test_the_values_are_as_they_are_declared() -> None:
    assert group_values(config()) == {"branch": ("north", "south"), "chain": ("a", "b", "c")}
    assert group_values(config("", **{"fedpa.group-adapters": False})) == {}
    assert group_values(from_flat({"strategy.name": "fedavg", "fedpa.groups": TWO})) == {}


def test_a_real_node_says_its_own_values() -> None:
    assert group_codes(config(), {"client-key": "shop", "branch": "south", "chain": "c"}) == (1, 2)
    for node, said in (({"branch": "west", "chain": "a"}, "'branch' = 'west'"), ({"branch": "north"}, "'chain' = ''")):
        with pytest.raises(ConfigError, match=said):
            group_codes(config(), {"client-key": "shop", **node})


def test_simulated_clients_are_dealt_to_the_values_in_turn() -> None:
    dealt = [group_codes(config(), {"partition-id": 0}, place) for place in range(7)]
    assert dealt == [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 2), (0, 0)]


@pytest.mark.parametrize(
    "text", ["branch", "branch=", "branch=a,a", "branch=a branch=b", "my branch=a", "=a,b", "b-1=a"]
)
def test_what_declares_no_groups_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="names no attribute with distinct values"):
        parse_groups(text)
