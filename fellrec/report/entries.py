"""What a run's history is made of: members, rounds, validations, troubles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Member:
    """A client that joined."""

    name: str
    users: float | None = None
    items: float | None = None
    train_interactions: float | None = None
    dataset: str = ""
    here: bool = True


@dataclass
class ClientRound:
    """What one client reported of one round.

    ``heat`` is its learning speed after the round, as a part of the full one; ``proportion`` the norm of its update over the
    median of the others', as the guard before mixing saw it.
    """

    loss: float | None = None
    size: float | None = None
    share: float | None = None
    heat: float | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    bytes: Mapping[str, float] = field(default_factory=dict)
    proportion: float | None = None


@dataclass
class Round:
    """One round.

    Attributes
    ----------
    messages : how many answers are awaited. replies : how many have come. answered : by client, whether its answer was no error.
    weights : the mixing matrix by receiver and sender; empty until the round has ended, and where none is logged.
    """

    number: int
    invited: tuple[str, ...] = ()
    messages: int = 0
    quorum: float | None = None
    replies: int = 0
    answered: dict[str, bool] = field(default_factory=dict)
    ended: bool = False
    void: bool = False
    loss: float | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    weights: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    clients: Mapping[str, ClientRound] = field(default_factory=dict)


@dataclass
class Validation:
    """What the adapters after ``round`` (0: before training) achieve on validation users: in the mean, and by client."""

    round: int
    means: Mapping[str, float]
    clients: Mapping[str, float]
    balance: Mapping[str, float]


@dataclass
class Trouble:
    """Something that went wrong, or that the operator should look at; ``grave`` tells the first from the second."""

    kind: str
    who: str
    reason: str
    hint: str = ""
    round: int | None = None
    time: float | None = None
    grave: bool = False


def named(values: Any) -> dict[str, str]:
    """A mapping of names to reasons as it may stand in a log; of anything else nothing."""
    return {str(name): str(value) for name, value in values.items()} if isinstance(values, Mapping) else {}
