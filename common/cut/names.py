"""Names of tensors: which side a tensor of the whole model lives on, and what a side calls it.

On both sides a layer keeps its index in the whole model, so a client's names are the whole model's names already. The
server hosts the base model inside a :class:`~common.cut.sides.ServerTrunk`, under the name that a model with a head
gives it: its names are those of the whole model with a head, and differ from a headless model's by that first part.
"""

from __future__ import annotations

import re

from transformers import PreTrainedConfig

from common.cut.families import Family, family_of
from common.cut.point import Cut, Side
from common.errors import ModelError

PEFT_PREFIX = "base_model.model."


def owner(name: str, cut: Cut, config: PreTrainedConfig) -> Side:
    """The side that holds a tensor of the whole model, named with or without the base model's prefix or PEFT's."""
    layer = _layer_index(name, family_of(config))
    return "server" if layer in cut.middle(config.num_hidden_layers) else "client"


def whole_name(name: str, side: Side, cut: Cut, config: PreTrainedConfig, causal: bool = False) -> str:
    """What the whole model calls a parameter or adapter tensor of one side.

    Parameters
    ----------
    name : as the side's module (plain, or wrapped by PEFT) names it.
    config : of the whole model.
    causal : whether the whole model is the one with the language model head, as the client's side was made.

    Raises
    ------
    ModelError : the name is of a layer that lives on the other side.
    """
    whole = _exchange(name, f"{family_of(config).prefix}.", "") if side == "server" and not causal else name
    _check_owner(whole, side, cut, config)
    return whole


def side_name(name: str, side: Side, cut: Cut, config: PreTrainedConfig, causal: bool = False) -> str:
    """What ``side`` calls a tensor of the whole model; the inverse of :func:`whole_name`.

    Raises
    ------
    ModelError : the tensor lives on the other side.
    """
    _check_owner(name, side, cut, config)
    return _exchange(name, "", f"{family_of(config).prefix}.") if side == "server" and not causal else name


def _exchange(name: str, old: str, new: str) -> str:
    """``name`` with ``new`` for ``old`` at its beginning, behind PEFT's prefix if there is one."""
    wrapped = PEFT_PREFIX if name.startswith(PEFT_PREFIX) else ""
    inner = name.removeprefix(wrapped)
    return f"{wrapped}{new}{inner.removeprefix(old)}"


def _layer_index(name: str, family: Family) -> int | None:
    inner = name.removeprefix(PEFT_PREFIX).removeprefix(f"{family.prefix}.")
    found = re.match(rf"{re.escape(family.layers)}\.(\d+)\.", inner)
    return int(found.group(1)) if found else None


def _check_owner(name: str, side: Side, cut: Cut, config: PreTrainedConfig) -> None:
    if (at := owner(name, cut, config)) != side:
        raise ModelError(f"tensor {name!r} lives on the {at}, not on the {side}", f"the cut is k={cut.k}, m={cut.m}")
