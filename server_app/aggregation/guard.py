"""A guard before mixing: whose update is out of all proportion to the others', and whose size would outweigh everybody.

An honest update's norm grows with the square root of the examples that it was trained on (AdamW's steps are of one length, and
partly cancel). Over runs of 5 and 12 clients with 192 to 1,603 examples each, norms per square root of the examples came to 1.9
times their median at most; gradients of single people are spread much wider, to 7.4 times over 1,343 people. The defaults of
``guard.factor`` and ``guard.gradient-factor`` leave room beyond that; ``python -m benchmarks.poison`` measures what they keep
out.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from common.errors import GuardError, MessageError
from common.low_rank import Adapter

FEWEST = 3
"""Clients of a round from which one can be told from the rest."""


def update_norms(adapters: Sequence[Adapter], starts: Sequence[Adapter], sizes: Tensor) -> Tensor:
    """|P_i - start_i| / sqrt(size_i), float64 [n]; summed in float64, so that no finite float32 overflows."""
    norms = [
        sum(float((own[name].double() - start[name].double()).square().sum()) for name in own) ** 0.5
        for own, start in zip(adapters, starts, strict=True)
    ]
    return torch.tensor(norms, dtype=torch.float64) / sizes.double().sqrt()


def row_norms(gradients: Adapter) -> Tensor:
    """Norms of stacked uploads [n, ...], over all their tensors: float64 [n]."""
    return torch.stack([rows.double().flatten(1).square().sum(dim=1) for rows in gradients.values()]).sum(dim=0).sqrt()


def proportions(norms: Tensor) -> Tensor:
    """Each norm over the median of the others', float64 [n]; of the middle two of an even number the larger one counts.

    So a single client that sends next to nothing cannot make the others look large. It is 1 for everybody with fewer than
    :data:`FEWEST` clients, and where most of the others stood still: then there is nothing to measure by.

    Raises
    ------
    MessageError : a norm that is not finite or below zero.
    """
    if not (torch.isfinite(norms).all() and (norms >= 0).all()):
        raise MessageError("the norm of an update is not finite", "leave out clients whose tensors are not finite")
    ratios = torch.ones(len(norms), dtype=torch.float64)
    if len(norms) < FEWEST:
        return ratios
    for place in range(len(norms)):
        middle = torch.cat([norms[:place], norms[place + 1 :]]).quantile(0.5, interpolation="higher")
        if middle > 0:
            ratios[place] = norms[place] / middle
    return ratios


def capped_sizes(sizes: Tensor, largest_share: float) -> Tensor:
    """Sizes [n] of which none makes more than its largest share of the sum of itself and the others, in float64.

    Every size is held against the others as they were told, so that one client cannot lift another's limit by much more than it
    may count itself. Fewer than :data:`FEWEST` clients stay as they are.
    """
    told = sizes.double()
    if len(told) < FEWEST or largest_share >= 1:
        return told
    others = told.sum() - told
    return torch.minimum(told, others * (largest_share / (1 - largest_share)))


def out_of_proportion(client: str, ratio: float, setting: str, factor: float) -> GuardError:
    """The error of a client whose ratio passes the factor that a setting names."""
    return GuardError(
        f"the update of client {client!r} is {ratio:.4g} times the others' median in norm, {setting!r} = {factor:g}",
        "look at its data and its log; raise the factor where clients are honestly that different",
    )
