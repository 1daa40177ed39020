"""The mixing matrix: how much of each sender goes into each receiver."""

from __future__ import annotations

import torch
from torch import Tensor

from common.errors import RunError


def mixing_matrix(similarities: Tensor, heats: Tensor) -> Tensor:
    """FELLRec's rows: d_ij = w_i s_ij, d_ii = 1, W_ij = d_ij / sum_j d_ij.

    The heat is the receiver's: a client's own parameters are never scaled down, and one that is still cold takes less
    of the others. With all similarities and heats 1 it is the uniform FedAvg.

    Parameters
    ----------
    similarities : s [n, n] in [0, 1].
    heats : w [n] in (0, 1].

    Returns
    -------
    W, float64 [n, n]; rows sum to one.
    """
    return normalise((heats.double()[:, None] * similarities.double()).fill_diagonal_(1.0))


def normalise(shares: Tensor) -> Tensor:
    """Non-negative shares [n, n] with their rows brought to the sum one, in float64."""
    shares = shares.double()
    return shares / shares.sum(dim=1, keepdim=True)


ROUNDING = 1e-6
"""How far a row may sum from one: what float32 makes of it."""


def check_mixing_matrix(weights: Tensor, clients: int, receivers: int | None = None) -> None:
    """Refuse what is no mixing matrix over that many clients, of a row for each of as many receivers (by default all).

    Raises
    ------
    RunError : wrong shape, a negative or non-finite weight, or a row that does not sum to one.
    """
    rows = clients if receivers is None else receivers
    if weights.shape != (rows, clients):
        raise RunError(
            f"the mixing matrix is {tuple(weights.shape)!r} for {rows!r} receivers and {clients!r} clients",
            "a rule gives one row for each receiver and one column for each client of the round",
        )
    for row, values in enumerate(weights.double()):
        total = float(values.sum())
        if not (torch.isfinite(values).all() and (values >= 0).all() and abs(total - 1.0) < ROUNDING):
            raise RunError(
                f"row {row!r} of the mixing matrix is {values.tolist()!r}", "weights are >= 0 and a row sums to one"
            )
