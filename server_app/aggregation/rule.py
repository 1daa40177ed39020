"""What a rule of aggregation is given, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from common.errors import ConfigError, MessageError
from common.low_rank import Adapter, Merge
from server_app.aggregation.adapter import check_names
from server_app.aggregation.merge import merge


@dataclass(frozen=True)
class Updates:
    """What the n clients of a round sent, in one order.

    Attributes
    ----------
    clients : their keys.
    adapters : what each sent, fp32, one set of names for all; ranks may differ between clients.
    start : what each began the round from.
    origin : the common adapter that the run began from (P_0).
    losses : mean training loss of the round, [n].
    sizes : training examples, [n], none negative and not all zero.
    heats : w_c(t), [n], in (0, 1]; ones where heating is off.

    Raises
    ------
    MessageError : lengths or names that do not fit together, or a number that is not finite or out of its range.
    """

    clients: tuple[str, ...]
    adapters: Sequence[Adapter]
    start: Sequence[Adapter]
    origin: Adapter
    losses: Tensor
    sizes: Tensor
    heats: Tensor

    def __post_init__(self) -> None:
        if not self.clients or len(set(self.clients)) < len(self.clients):
            raise MessageError(f"clients of the round are {self.clients!r}", "pass at least one, each once")
        for field in ("adapters", "start", "losses", "sizes", "heats"):
            if len(getattr(self, field)) != len(self.clients):
                raise MessageError(
                    f"{field} holds {len(getattr(self, field))!r} entries for {len(self.clients)!r} clients",
                    "pass one entry for each client, in one order",
                )
        for field in ("losses", "sizes", "heats"):
            self._check_numbers(field)
        if not float(self.sizes.double().sum()) > 0:
            raise MessageError("sizes are all zero", "a client counts its training examples")
        labels = [f"{what} {client!r}" for what in ("client", "the start of client") for client in self.clients]
        check_names([*self.adapters, *self.start, self.origin], [*labels, "the origin"])
        for client, adapter in zip(self.clients, self.adapters, strict=True):
            for name, tensor in adapter.items():
                if not torch.isfinite(tensor).all():
                    raise MessageError(
                        f"tensor {name!r} of client {client!r} is not finite", "lower that client's learning rate"
                    )

    def _check_numbers(self, field: str) -> None:
        for client, value in zip(self.clients, getattr(self, field).tolist(), strict=True):
            finite = abs(value) < float("inf")
            if not finite or (field == "sizes" and value < 0) or (field == "heats" and not 0 < value <= 1):
                raise MessageError(
                    f"{field} of client {client!r} is {value!r}", "losses are finite, sizes >= 0, heats in (0, 1]"
                )


class Rule(Protocol):
    """A rule of aggregation: a frozen dataclass of its settings. Each is a :class:`MatrixRule` or a :class:`JointRule`."""

    @property
    def merge(self) -> Merge:
        """How adapters are mixed, averaged over rounds and interpolated."""
        ...


@runtime_checkable
class MatrixRule(Rule, Protocol):
    """A rule that says how much of each sender goes to each receiver."""

    def weights(self, updates: Updates) -> Tensor:
        """The mixing matrix, float64 [n, n]: row i is what receiver i takes of each sender; rows sum to one."""
        ...


@runtime_checkable
class JointRule(Rule, Protocol):
    """A rule that makes one adapter for all, in another way than by a matrix; for the shared scope."""

    def adapter(self, updates: Updates) -> Adapter:
        """The adapter, with the senders' names, shapes and dtypes."""
        ...


@dataclass(frozen=True)
class Mixture:
    """What a rule made of a round.

    Attributes
    ----------
    adapters : the receivers' new adapters, in the order of the clients.
    weights : the mixing matrix, float64 [n, n]; None where there is none.
    """

    adapters: list[Adapter]
    weights: Tensor | None


def mix(rule: Rule, updates: Updates) -> Mixture:
    """Applies a rule to a round, for all receivers at once.

    Raises
    ------
    MessageError, RunError : adapters that do not fit together, or no mixing matrix; see :mod:`server_app.aggregation.merge`.
    """
    if isinstance(rule, JointRule):
        return Mixture([rule.adapter(updates)] * len(updates.clients), None)
    if not isinstance(rule, MatrixRule):
        raise ConfigError(f"rule {rule!r} has neither 'weights' nor 'adapter'", "see docs/own-rule.md")
    weights = rule.weights(updates)
    return Mixture(merge(rule.merge, updates.adapters, weights, clients=updates.clients).adapters, weights)


RULES: dict[str, type[Rule]] = {}
"""The rules by name, each put here by its own file."""


def named(name: str) -> Callable[[type[Rule]], type[Rule]]:
    """Decorates the rule of the strategy ``name``: puts it among :data:`RULES`.

    Raises
    ------
    ConfigError : another rule has that name.
    """

    def put(rule: type[Rule]) -> type[Rule]:
        if name in RULES:
            raise ConfigError(f"two rules are named {name!r}: {RULES[name]!r} and {rule!r}", "give one another name")
        RULES[name] = rule
        return rule

    return put
