"""Scopes: who owns a trainable tensor, how it is mixed, and whether it may leave its client.

A strategy is an assignment of scopes to the tensors of a model and a rule per scope; FedAvg, FedProx, FELLRec, FedPA and
local-only training differ in that table (:data:`ADAPTER_SCOPE`, for click models :mod:`common.click_scopes`) and in the
rule (``server_app.aggregation``), nowhere else. What ``strategy.name`` may be is read from here.
"""

from __future__ import annotations

from enum import StrEnum


class Scope(StrEnum):
    """Where a tensor lives and how it is mixed."""

    PRIVATE = "private"
    """Lives on the client, is never mixed, never leaves: optimiser state, the item matrix."""
    PERSONAL = "personal"
    """Mirrored on the server; every client gets a mix of its own."""
    GROUP = "group"
    """Mirrored on the server; one mean for all clients with the same value of an attribute."""
    SHARED = "shared"
    """Mirrored on the server; one mean for all."""
    FROZEN = "frozen"
    """Base weights: never trained, never sent."""

    @property
    def may_leave(self) -> bool:
        """Whether the outbox lets such a tensor go to the server."""
        return self in (Scope.PERSONAL, Scope.GROUP, Scope.SHARED)


ADAPTER_SCOPE: dict[str, Scope] = {
    "fellrec": Scope.PERSONAL,
    "fellrec-paper": Scope.PERSONAL,
    "fedavg": Scope.SHARED,
    "fedprox": Scope.SHARED,
    "median": Scope.SHARED,
    "trimmed-mean": Scope.SHARED,
    "krum": Scope.SHARED,
    "local": Scope.PERSONAL,
    "centralised": Scope.SHARED,
}
"""The scope of the trained tensors of the recommender, by strategy."""
