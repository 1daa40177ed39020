"""Whose a tensor of an adapted click model is, by its name alone (arXiv 2405.04840, section 3)."""

from __future__ import annotations

import re
from enum import StrEnum


class Branch(StrEnum):
    """What is trained of a gated layer, as it stands in its tensors' names."""

    USER = "user"
    GROUPS = "groups"
    GATE = "gate"


_ADAPTER_NAME = re.compile(
    r"(?:^|\.)(?:(user)\.lora_[AB]|(groups)\.\w+\.lora_[AB]|(gate)\.(?:hidden|paths))\.(?:weight|bias)$"
)


def branch_of(name: str) -> Branch | None:
    """Which part of a gated layer a tensor belongs to, by its name in the whole model; None where it is in none."""
    found = _ADAPTER_NAME.search(name)
    return Branch(found[1] or found[2] or found[3]) if found else None


class Owner(StrEnum):
    """Whose a tensor of an adapted click model is; the scopes follow from it."""

    CLIENT = "client"
    """The client's alone: its user embeddings and its user-level path."""
    GROUP = "group"
    """Of all clients with the same value of an attribute: that group's path."""
    ALL = "all"
    """Of all clients: the gates and the output layer."""
    NOBODY = "nobody"
    """Frozen: the item embeddings and the common layers."""


def owner_of(name: str) -> Owner:
    """The owner of a tensor of an adapted click model, by its name."""
    branch = branch_of(name)
    if branch is Branch.USER or name.startswith("user_embeddings."):
        return Owner.CLIENT
    if branch is Branch.GROUPS:
        return Owner.GROUP
    return Owner.ALL if branch is Branch.GATE or name.startswith("output.") else Owner.NOBODY
