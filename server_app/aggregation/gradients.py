"""Rules for tensors that all clients of a group have in common: the members' mean, or a step along their mean gradient.

Gradients of a group's members are taken at the group's own tensors, so that their mean is that of the group's rows, factor
by factor; averaging the factors themselves, after each member moved them, would not be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from common.errors import MessageError, RunError

BETAS, EPSILON = (0.9, 0.99), 1e-8
"""Adam's on the server: a few dozen rounds are too few for the usual 0.999."""


def mean_by_group(values: Tensor, groups: Tensor, weights: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The weighted mean of [n, ...] in each group.

    Parameters
    ----------
    groups : int64 [n] in [0, count). weights : [n], finite and >= 0; a row of weight 0 does not count.

    Returns
    -------
    Means [count, ...] in the values' dtype, added up in float64 and zero for a group without members; int64 [count], the
    members that counted.

    Raises
    ------
    MessageError : lengths that differ, an unknown group, a weight out of range, or a value that is not finite.
    """
    if not len(values) == len(groups) == len(weights):
        raise MessageError(f"{len(values)!r} values, {len(groups)!r} groups and {len(weights)!r} weights", "one each")
    if len(groups) and not 0 <= int(groups.min()) <= int(groups.max()) < count:
        raise MessageError(f"groups are {int(groups.min())!r} to {int(groups.max())!r}", f"there are {count!r} groups")
    shares = weights.double()
    if not (torch.isfinite(shares).all() and (shares >= 0).all()):
        raise MessageError("a weight is not finite or below zero", "weights are counts of rows")
    counted = shares > 0
    chosen, own, shares = values[counted].double(), groups[counted], shares[counted]
    if not torch.isfinite(chosen).all():
        raise MessageError("a participant's tensor is not finite", "lower the clients' learning rate")
    totals = torch.zeros(count, dtype=torch.float64).index_add_(0, own, shares)
    form = (-1, *[1] * (values.ndim - 1))
    sums = torch.zeros(count, *values.shape[1:], dtype=torch.float64).index_add_(0, own, chosen * shares.view(form))
    means = sums / totals.where(totals > 0, torch.ones_like(totals)).view(form)
    return means.to(values.dtype), torch.bincount(own, minlength=count)


@runtime_checkable
class TableRule(Protocol):
    """A rule for tables [rows, ...] of which each client has one row: its group's, or the only one."""

    def step(self, name: str, table: Tensor, sent: Tensor, groups: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """The table after a round.

        Parameters
        ----------
        name : str
            Name of the tensor.
        table : Tensor
            [rows, ...] as the round began.
        sent : Tensor
            What n clients contributed, [n, ...].
        groups : Tensor
            Row of each, int64 [n].
        weights : Tensor
            Weight of each in its row's mean, [n].

        Returns
        -------
        tuple of Tensor
            New table, and how many clients counted in each row, int64 [rows].
        """

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that the next step depends on, for a checkpoint."""

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Goes on from what :meth:`state_dict` gave."""


class GroupMean:
    """Each row becomes the mean of what its members trained (FedPA, arXiv 2405.04840); one without members stays."""

    def __repr__(self) -> str:
        return "GroupMean()"

    def step(self, name: str, table: Tensor, sent: Tensor, groups: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        means, counted = mean_by_group(sent, groups, weights, len(table))
        return torch.where((counted > 0).view(-1, *[1] * (table.ndim - 1)), means, table), counted

    def state_dict(self) -> dict[str, Tensor]:
        return {}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        pass


class GradientStep:
    """Each row moves by Adam along the mean of its members' gradients.

    Parameters
    ----------
    rate : float
        Adam's learning rate.
    """

    def __init__(self, rate: float) -> None:
        self.rate, self._adam = rate, ServerAdam()

    def __repr__(self) -> str:
        return f"GradientStep(rate={self.rate!r})"

    def step(self, name: str, table: Tensor, sent: Tensor, groups: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        mean, counted = mean_by_group(sent, groups, weights, len(table))
        return self._adam.step(name, table, mean, counted > 0, self.rate), counted

    def state_dict(self) -> dict[str, Tensor]:
        return self._adam.state_dict()

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self._adam.load_state(state)


@dataclass
class Moments:
    """Adam's two moments [rows, ...] of one table, and the steps of each row, int64 [rows]."""

    first: Tensor
    second: Tensor
    steps: Tensor


class ServerAdam:
    """Adam (Kingma and Ba, 2015) over tables [rows, ...], where a row steps only when it has a gradient (FedOpt, 2003.00295).

    A group that nobody belongs to in a round keeps its row and its moments.
    """

    def __init__(self) -> None:
        self._moments: dict[str, Moments] = {}

    def step(self, name: str, table: Tensor, gradient: Tensor, rows: Tensor, rate: float) -> Tensor:
        """The table after one step of the rows where ``rows`` (bool [rows]) is true."""
        if name not in self._moments:
            zero = torch.zeros_like(table)
            self._moments[name] = Moments(zero, zero.clone(), torch.zeros(len(table), dtype=torch.int64))
        own = self._moments[name]
        form = (-1, *[1] * (table.ndim - 1))
        steps = own.steps + rows
        first = BETAS[0] * own.first + (1 - BETAS[0]) * gradient
        second = BETAS[1] * own.second + (1 - BETAS[1]) * gradient.square()
        scale = [1 - beta ** steps.clamp(min=1).view(form) for beta in BETAS]
        moved = table - rate * (first / scale[0]) / ((second / scale[1]).sqrt() + EPSILON)
        mask = rows.view(form)
        self._moments[name] = Moments(torch.where(mask, first, own.first), torch.where(mask, second, own.second), steps)
        return torch.where(mask, moved, table)

    def state_dict(self) -> dict[str, Tensor]:
        """All moments, for a checkpoint."""
        return {
            f"{name}/{kind}": getattr(own, kind)
            for name, own in self._moments.items()
            for kind in ("first", "second", "steps")
        }

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what :meth:`state_dict` gave; raises RunError where a part is missing."""
        try:
            self._moments = {
                name: Moments(*(state[f"{name}/{kind}"] for kind in ("first", "second", "steps")))
                for name in sorted({key.rpartition("/")[0] for key in state})
            }
        except KeyError as error:
            raise RunError(
                f"checkpoint lacks {error.args[0]!r}", "resume from an earlier one, or start anew"
            ) from error
