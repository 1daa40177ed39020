"""The groups that clients of a language model belong to, as ``fedpa.groups`` declares them.

A click model's clients are people, grouped by attributes that stand in their log. A client of a language model holds many
people: what it is grouped by (its branch, its country) its operator says in the node configuration.
"""

from __future__ import annotations

from collections.abc import Mapping

from common.config import RunConfig, Value, parse_groups
from common.errors import ConfigError


def group_values(config: RunConfig) -> dict[str, tuple[str, ...]]:
    """The values of every grouping attribute; empty where the model has no group-level paths."""
    gated = config.model.recommender != "click" and config.model.adapter == "gated"
    return parse_groups(config.fedpa.groups) if gated and config.fedpa.group_adapters else {}


def group_codes(config: RunConfig, node: Mapping[str, Value], place: int = 0) -> tuple[int, ...]:
    """A client's code of every grouping attribute.

    A real node names its values in its configuration (``branch="north"``). Simulated clients are dealt to the values in
    turn, as the first attribute's digits go round fastest.

    Parameters
    ----------
    config : RunConfig
        Configuration of the run.
    node : Mapping[str, Value]
        Configuration of the node.
    place : int
        Place of a simulated client among all of the run.

    Raises
    ------
    ConfigError : a real node names no value of an attribute, or one that the run does not know.
    """
    codes = []
    for attribute, values in group_values(config).items():
        if "client-key" not in node:
            codes.append(place % len(values))
            place //= len(values)
            continue
        value = str(node.get(attribute, ""))
        if value not in values:
            raise ConfigError(f"node configuration has {attribute!r} = {value!r}", f"choose one of {', '.join(values)}")
        codes.append(values.index(value))
    return tuple(codes)
