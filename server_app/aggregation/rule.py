"""What a rule of aggregation is given, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol, get_type_hints, runtime_checkable

import torch
from torch import Tensor

from common.errors import ConfigError, MessageError
from common.low_rank import Adapter, Merge
from common.scopes import SCOPES, Scope, row
from server_app.aggregation.adapter import check_names
from server_app.aggregation.merge import merge


@dataclass(frozen=True)
class Updates:
    """What the n clients of a round sent, in one order.

    Attributes
    ----------
    clients : tuple of str
        Their names.
    adapters : Sequence of Adapter
        What each sent, fp32, one set of names for all; ranks may differ between clients.
    start : Sequence of Adapter
        What each began the round from.
    origin : Adapter
        The common adapter that the run began from (P_0).
    losses : Tensor
        Mean training loss of the round, [n].
    sizes : Tensor
        Training examples, [n], none negative and not all zero.
    heats : Tensor
        w_c(t), [n], in (0, 1]; ones where heating is off.

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
    adapters : list of Adapter
        The receivers' new adapters, in the order of the clients.
    weights : Tensor or None
        The mixing matrix, float64 [n, n]; None where there is none.
    """

    adapters: list[Adapter]
    weights: Tensor | None


def mix(rule: Rule, updates: Updates, receivers: Sequence[int] | None = None) -> Mixture:
    """Applies a rule to a round.

    Parameters
    ----------
    rule : Rule
        How to mix.
    updates : Updates
        What the clients sent.
    receivers : Sequence[int] or None
        Places of the clients that get a new adapter; by default all.

    Raises
    ------
    MessageError, RunError : adapters that do not fit together, or no mixing matrix; see :mod:`server_app.aggregation.merge`.
    """
    count = len(updates.clients) if receivers is None else len(receivers)
    if isinstance(rule, JointRule):
        return Mixture([rule.adapter(updates)] * count, None)
    if not isinstance(rule, MatrixRule):
        raise ConfigError(f"rule {rule!r} has neither 'weights' nor 'adapter'", "see docs/own-rule.md")
    weights = rule.weights(updates)
    if receivers is not None and len(weights) == len(updates.clients):
        weights = weights[list(receivers)]
    merged = merge(rule.merge, updates.adapters, weights, clients=updates.clients, receivers=receivers)
    return Mixture(merged.adapters, weights)


RULES: dict[str, type[Rule]] = {}
"""The rules by name, each put here by its own file."""


def named(name: str, scope: Scope | None = None) -> Callable[[type[Rule]], type[Rule]]:
    """Decorates a rule: puts it among :data:`RULES`, and with a scope makes it a strategy.

    Parameters
    ----------
    name : str
        Name of the rule, and of its strategy.
    scope : Scope or None
        What becomes of the tensors that are about everybody, ``personal`` or ``shared``; tensors about one client stay
        private, those about a group get the group's mean. None for a rule whose strategy stands in
        :data:`common.scopes.SCOPES`, or that is none.

    Raises
    ------
    ConfigError : another rule or strategy has that name.
    """

    def put(rule: type[Rule]) -> type[Rule]:
        again = (
            name in RULES
            and RULES[name].__qualname__ == rule.__qualname__
            and RULES[name].__module__ == rule.__module__
        )
        # a notebook's cell may be run twice
        if not again and (name in RULES or (scope is not None and name in SCOPES)):
            raise ConfigError(f"two rules are named {name!r}", "give one another name")
        RULES[name] = rule
        if scope is not None:
            SCOPES[name] = row(Scope.PRIVATE, Scope.GROUP, scope, scope)
        return rule

    return put


def with_options(name: str, options: str) -> Rule:
    """A rule with its settings, the fields of its dataclass, from ``field=value field=value``.

    Raises
    ------
    ConfigError : a field that it does not have, or a value of another type.
    """
    rule = RULES[name]
    known = {one.name: one for one in fields(rule)}  # type: ignore[arg-type]  # no protocol says that it is a dataclass
    kinds = get_type_hints(rule)
    chosen: dict[str, Any] = {}
    for part in options.split():
        key, equals, value = part.partition("=")
        field = key.replace("-", "_")
        if not equals or field not in known:
            raise ConfigError(
                f"'strategy.options' = {options!r}: {part!r} is no setting of the strategy {name!r}",
                f"it has {', '.join(known)}",
            )
        try:
            chosen[field] = _READ.get(kinds[field], str)(value)
        except ValueError as error:
            raise ConfigError(
                f"'strategy.options' = {options!r}: {key!r} = {value!r} is no {kinds[field].__name__}",
                f"the default is {known[field].default!r}",
            ) from error
    return rule(**chosen)


def _truth(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(text)
    return text == "true"


_READ: dict[Any, Callable[[str], Any]] = {int: int, float: float, bool: _truth}
