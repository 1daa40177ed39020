"""A mixing matrix as the event log holds it: whole for a few clients, of many the largest weights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor

FEW = 24
"""Clients up to which the whole matrix is written."""

LARGEST = 5
"""Weights of a row that are written where there are more clients, beside the receiver's own."""


def largest_weights(weights: Tensor | None, clients: Sequence[str]) -> dict[str, dict[str, float]]:
    """The matrix by receiver and sender.

    Parameters
    ----------
    weights : Tensor or None
        [n, n], or [1, n] where all receivers have one row; None where there is no matrix.
    clients : Sequence[str]
        Names of the n clients.
    """
    if weights is None:
        return {}
    rows = weights.expand(len(clients), -1)
    found = {}
    for place, receiver in enumerate(clients):
        row = rows[place]
        chosen: Iterable[int] = range(len(clients))
        if len(clients) > FEW:
            chosen = sorted({place, *row.topk(LARGEST).indices.tolist()})
        found[receiver] = {clients[sender]: float(row[sender]) for sender in chosen}
    return found
