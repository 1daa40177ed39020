"""Clients that do not play fair, in simulation only: what attacks and defences are tried with.

``federation.misbehaving`` names them with what they do. What they send then passes the outbox and the server like
anybody's; a real node refuses the setting.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch

from client_app.learned import Learned
from common.adapters.many import State
from common.config import RunConfig, Value, parse_pairs
from common.errors import ConfigError

Misbehaviour = Callable[[State, State], State]
"""From what a client moved its tensors by (or its gradients) and where it began, [1, ...], to what it sends."""

MISBEHAVIOURS: dict[str, Misbehaviour] = {}
"""By name, each put here by :func:`misbehaviour`."""


def misbehaviour(name: str) -> Callable[[Misbehaviour], Misbehaviour]:
    """Decorates a way to misbehave: from (moved, start) to what is sent."""

    def put(found: Misbehaviour) -> Misbehaviour:
        MISBEHAVIOURS[name] = found
        return found

    return put


@misbehaviour("scaled")
def _scaled(moved: State, start: State) -> State:
    """Ten times as far."""
    return {name: start[name] + 10 * tensor for name, tensor in moved.items()}


@misbehaviour("reversed")
def _reversed(moved: State, start: State) -> State:
    """As far, the other way."""
    return {name: start[name] - tensor for name, tensor in moved.items()}


@misbehaviour("random")
def _random(moved: State, start: State) -> State:
    """As far, anywhere."""
    found = {}
    for name, tensor in moved.items():
        drawn = torch.randn_like(tensor)
        found[name] = start[name] + drawn * tensor.norm() / drawn.norm().clamp(min=1e-12)
    return found


@misbehaviour("idle")
def _idle(moved: State, start: State) -> State:
    """Nowhere: takes part for what others learn."""
    return dict(start)


def misbehave(config: RunConfig, node: Mapping[str, Value], clients: tuple[str, ...], learned: Learned) -> Learned:
    """What these clients came to, with the contributions of those that misbehave in place of their own.

    Raises
    ------
    ConfigError : the setting names what is not known, or this is a real node.
    """
    named = parse_pairs("federation.misbehaving", config.federation.misbehaving)
    if not named:
        return learned
    if "client-key" in node:
        raise ConfigError(
            f"'federation.misbehaving' = {config.federation.misbehaving!r} is for simulation, this node is real",
            "leave it out",
        )
    contribution = {name: tensor.clone() for name, tensor in learned.contribution.items()}
    start = learned.start or {name: torch.zeros_like(tensor) for name, tensor in contribution.items()}
    for place, client in enumerate(clients):
        if client not in named:
            continue
        if named[client] not in MISBEHAVIOURS:
            raise ConfigError(
                f"'federation.misbehaving': client {client!r} is to be {named[client]!r}",
                f"choose one of {', '.join(MISBEHAVIOURS)}",
            )
        begun = {name: tensor[place] for name, tensor in start.items()}
        moved = {name: tensor[place] - begun[name] for name, tensor in contribution.items()}
        for name, tensor in MISBEHAVIOURS[named[client]](moved, begun).items():
            contribution[name][place] = tensor
    return replace(learned, contribution=contribution)
