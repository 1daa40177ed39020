"""Scopes: who owns a trainable tensor, how it is mixed, and whether it may leave its client.

A strategy is an assignment of scopes to the tensors of a model and a rule per scope; FedAvg, FedProx, FELLRec, FedPA and
local-only training differ in that table (:data:`ADAPTER_SCOPE`, :data:`CLICK_SCOPE`) and in the rule
(``server_app.aggregation``), nowhere else.
"""

from __future__ import annotations

from enum import StrEnum

from common.recommenders.click import Owner, owner_of


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
    "local": Scope.PERSONAL,
    "fedavg": Scope.SHARED,
    "fedprox": Scope.SHARED,
    "centralised": Scope.SHARED,
}
"""The scope of the trained tensors of the recommender, by strategy."""

CLICK_SCOPE: dict[str, dict[Owner, Scope]] = {
    "fedpa": {
        Owner.CLIENT: Scope.PRIVATE, Owner.GROUP: Scope.GROUP, Owner.ALL: Scope.SHARED, Owner.NOBODY: Scope.FROZEN,
    },
    "local": {
        Owner.CLIENT: Scope.PRIVATE, Owner.GROUP: Scope.PRIVATE, Owner.ALL: Scope.PRIVATE, Owner.NOBODY: Scope.FROZEN,
    },
    "fedavg": dict.fromkeys(Owner, Scope.SHARED),
}  # fmt: skip
"""The scope of a click model's tensors by strategy and owner; ``fedavg`` trains the plain model, without adapters."""

ITEM_IDS = "item_embeddings.item_id.weight"
"""The table with a row for every item: frozen under every strategy, since each client would send all of it."""


def click_scope(strategy: str, name: str) -> Scope:
    """The scope of one tensor of a click model; raises KeyError for a strategy that click models do not go with."""
    scopes = CLICK_SCOPE[strategy]
    return Scope.FROZEN if name == ITEM_IDS else scopes[owner_of(name)]
