"""Scopes: who owns a trainable tensor, how it is mixed, and whether it may leave its client.

A strategy is an assignment of scopes to the tensors of a model and a rule per scope; FedAvg, FedProx, FELLRec and
local-only training differ in that table (:data:`ADAPTER_SCOPE`) and in the rule (``server_app.aggregation``), nowhere else.
"""

from __future__ import annotations

from enum import StrEnum


class Scope(StrEnum):
    """Where a tensor lives and how it is mixed."""

    PRIVATE = "private"
    """Lives on the client, is never mixed, never leaves: optimiser state, the item matrix."""
    PERSONAL = "personal"
    """Mirrored on the server; every client gets a mix of its own."""
    SHARED = "shared"
    """Mirrored on the server; one mean for all."""
    FROZEN = "frozen"
    """Base weights: never trained, never sent."""

    @property
    def may_leave(self) -> bool:
        """Whether the outbox lets such a tensor go to the server."""
        return self in (Scope.PERSONAL, Scope.SHARED)


ADAPTER_SCOPE: dict[str, Scope] = {
    "fellrec": Scope.PERSONAL,
    "fellrec-paper": Scope.PERSONAL,
    "local": Scope.PERSONAL,
    "fedavg": Scope.SHARED,
    "fedprox": Scope.SHARED,
    "centralised": Scope.SHARED,
}
"""The scope of the trained tensors of the recommender, by strategy."""
