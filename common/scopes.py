"""The one table of the federation: a model says whom a tensor is about, a strategy says what becomes of it.

A model names the **owner** of each of its tensors (:class:`Owner`); a strategy gives every owner a **scope**
(:data:`SCOPES`); and each scope is mixed by one rule (``server_app.strategies``). FELLRec, FedPA, FedAvg and local
training differ in that table and in those rules, nowhere else. What a client may send (``client_app.outbox``), what the
server keeps (``server_app.state``) and what the report says of it follow from here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from importlib import import_module


class Owner(StrEnum):
    """Whom a tensor is about."""

    CLIENT = "client"
    """One client: a user-level path, embeddings of users."""
    GROUP = "group"
    """All clients with the same value of an attribute: that group's path."""
    ITEM = "item"
    """The items of a catalogue: their embeddings."""
    ALL = "all"
    """Everybody: low-rank adapters, gates, heads."""
    NOBODY = "nobody"
    """Not trained: base weights."""


class Scope(StrEnum):
    """Where a tensor lives and how it is mixed."""

    PRIVATE = "private"
    """On its client; never mixed, never sent."""
    PERSONAL = "personal"
    """Mirrored on the server; every client gets a mix of its own."""
    GROUP = "group"
    """Mirrored on the server; one mean for all clients with the same value of an attribute."""
    SHARED = "shared"
    """Mirrored on the server; one for all."""
    FROZEN = "frozen"
    """Base weights: never trained, never sent."""

    @property
    def may_leave(self) -> bool:
        """Whether such a tensor may go to the server."""
        return self in MIXED


MIXED = (Scope.PERSONAL, Scope.GROUP, Scope.SHARED)
"""The scopes that are mirrored on the server."""


def row(client: Scope, group: Scope, item: Scope, everybody: Scope) -> dict[Owner, Scope]:
    """A strategy's row of :data:`SCOPES`: what becomes of tensors by their owner; nobody's are frozen."""
    return {
        Owner.CLIENT: client,
        Owner.GROUP: group,
        Owner.ITEM: item,
        Owner.ALL: everybody,
        Owner.NOBODY: Scope.FROZEN,
    }


_PERSONAL = row(Scope.PRIVATE, Scope.GROUP, Scope.PERSONAL, Scope.PERSONAL)
_SHARED = row(Scope.SHARED, Scope.SHARED, Scope.SHARED, Scope.SHARED)

SCOPES: dict[str, Mapping[Owner, Scope]] = {
    "fellrec": _PERSONAL,
    "fellrec-paper": _PERSONAL,
    "fedpa": row(Scope.PRIVATE, Scope.GROUP, Scope.PRIVATE, Scope.SHARED),
    "fedavg": _SHARED,
    "fedprox": _SHARED,
    "median": _SHARED,
    "trimmed-mean": _SHARED,
    "krum": _SHARED,
    "local": row(Scope.PRIVATE, Scope.PRIVATE, Scope.PRIVATE, Scope.PRIVATE),
    "centralised": _SHARED,
}
"""The scope of a tensor by strategy and owner. What ``strategy.name`` may be is read from here."""

_GATED = re.compile(
    r"(?:^|\.)(?:(user)\.lora_[AB]|groups\.(\w+)\.lora_[AB]|(gate)\.(?:hidden|paths))\.(?:weight|bias)$"
)


def owner_of(name: str) -> Owner:
    """Whom a trained tensor is about, by its name in the whole model (of gated layers: arXiv 2405.04840, section 3)."""
    found = _GATED.search(name)
    if found is not None and (found[1] or found[2]):
        return Owner.CLIENT if found[1] else Owner.GROUP
    first = name.partition(".")[0]
    return {"user_embeddings": Owner.CLIENT, "item_embeddings": Owner.ITEM}.get(first, Owner.ALL)


def group_of(name: str) -> str | None:
    """The grouping attribute that a group-level tensor goes by, from its name; None for any other tensor."""
    found = _GATED.search(name)
    return found[2] if found else None


def known_strategies() -> list[str]:
    """The names that ``strategy.name`` may have: the rows of :data:`SCOPES`, those of rules that register their own included."""
    # every rule that brings its own row is a file of that package, on the client as on the server
    import_module("server_app.aggregation")
    return list(SCOPES)


def scopes_of(strategy: str, owners: Mapping[str, Owner]) -> dict[str, Scope]:
    """The scope of every tensor by its name.

    Raises
    ------
    KeyError : a strategy that has no row.
    """
    row = SCOPES[strategy]
    return {name: row[owner] for name, owner in owners.items()}
