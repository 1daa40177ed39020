"""Averages by owner for many small clients: one for all, one for each group, none for what is private.

Tensors of all clients come stacked, [clients, ...]. A group is the clients with the same value of an attribute; its
low-rank path is averaged as a matrix BA (:class:`common.low_rank.ProductMixer`), at the rank that it has.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from common.errors import MessageError
from common.low_rank import ProductMixer


def mean_of_all(values: Tensor, weights: Tensor) -> Tensor:
    """The weighted mean over clients of [clients, ...], in the values' dtype, added up in float64.

    Raises
    ------
    MessageError : no client has a weight, or a weight or value that counts is not finite or below zero.
    """
    shares = _shares(weights, len(values))
    _check_finite(values[shares > 0])
    return torch.einsum("n,n...->...", shares[shares > 0], values[shares > 0].double()).to(values.dtype)


@dataclass(frozen=True)
class GroupMeans:
    """What each group has after a round.

    Attributes
    ----------
    a, b : [groups, rank, d_in] and [groups, d_out, rank], the server's own where a group had no participant.
    members : int64 [groups], participants of each group.
    discarded : float64 [groups], the share of the mean product's energy that did not fit the rank.
    """

    a: Tensor
    b: Tensor
    members: Tensor
    discarded: Tensor


def group_means(
    a: Tensor, b: Tensor, groups: Tensor, weights: Tensor, server_a: Tensor, server_b: Tensor
) -> GroupMeans:
    """The mean product of the participants of each group.

    Parameters
    ----------
    a, b : the participants' paths, [n, rank, d_in] and [n, d_out, rank].
    groups : int64 [n], each participant's group.
    weights : [n], >= 0; a participant of weight 0 does not count.
    server_a, server_b : what the server has, [groups, rank, d_in] and [groups, d_out, rank].

    Returns
    -------
    The best approximation at the rank, with A turned as close to the server's as its product allows, so that clients go
    on from where they were. A group of one participant has that participant's product.

    Raises
    ------
    MessageError : shapes that do not fit, an unknown group, or numbers that are not finite.
    """
    count = len(server_a)
    fits = a.shape[1:] == server_a.shape[1:] and b.shape[1:] == server_b.shape[1:] and len(server_b) == count
    if not (fits and len(a) == len(b) == len(groups) == len(weights) and a.shape[1] == b.shape[2]):
        raise MessageError(
            f"paths {tuple(a.shape)!r} and {tuple(b.shape)!r} of {len(groups)!r} participants, the server has "
            f"{tuple(server_a.shape)!r} and {tuple(server_b.shape)!r}",
            "A is [n, rank, d_in], B [n, d_out, rank]; one group and one weight for each participant",
        )
    if len(groups) and not 0 <= int(groups.min()) <= int(groups.max()) < count:
        raise MessageError(f"groups are {int(groups.min())!r} to {int(groups.max())!r}", f"there are {count!r} groups")
    _check_weights(weights)
    out_a, out_b = server_a.clone(), server_b.clone()
    members, discarded = torch.zeros(count, dtype=torch.int64), torch.zeros(count, dtype=torch.float64)
    for group in range(count):
        own = torch.nonzero((groups == group) & (weights > 0)).flatten()
        members[group] = len(own)
        if not len(own):
            continue
        _check_finite(a[own])
        _check_finite(b[own])
        mixed = ProductMixer(list(zip(a[own], b[own], strict=True))).mix(
            _shares(weights[own], len(own)), server_a[group]
        )
        out_a[group], out_b[group], discarded[group] = mixed.a.to(a.dtype), mixed.b.to(b.dtype), mixed.discarded
    return GroupMeans(out_a, out_b, members, discarded)


def _shares(weights: Tensor, clients: int) -> Tensor:
    """Weights that add up to one, float64 [n]."""
    _check_weights(weights)
    total = float(weights.double().sum())
    if len(weights) != clients or not 0 < total < float("inf"):
        raise MessageError(
            f"{len(weights)!r} weights of sum {total!r} for {clients!r} clients", "give one a weight > 0"
        )
    return weights.double() / total


def _check_weights(weights: Tensor) -> None:
    if not (torch.isfinite(weights).all() and (weights >= 0).all()):
        raise MessageError(f"weights are {weights.tolist()!r:.200}", "they are finite and >= 0")


def _check_finite(values: Tensor) -> None:
    if not torch.isfinite(values).all():
        raise MessageError("a participant's tensor is not finite", "lower the clients' learning rate")
