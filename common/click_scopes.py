"""The scopes of a click model's tensors, by whose each is (``common.scopes`` says what a scope is)."""

from __future__ import annotations

from common.owners import Owner, owner_of
from common.scopes import Scope

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
