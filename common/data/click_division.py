"""Who of a click log is open and who is a client: the warm start is made from open users, who take no part afterwards."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.data.clicks import ClickLog
from common.errors import DataError
from common.seeds import derive


@dataclass(frozen=True, eq=False)
class Division:
    """Positions of users in the log, ascending, int64: every user is in one of both."""

    open: NDArray[np.int64]
    clients: NDArray[np.int64]


def divide(log: ClickLog, open_share: float, seed: int) -> Division:
    """Draw the open users; depends on the number of users, the share and the seed alone.

    Raises DataError where nobody would be open, or nobody a client.
    """
    users = len(log.user_keys)
    count = round(open_share * users)
    if not 0 < count < users:
        raise DataError(
            f"click log {log.name!r} has {users} users: an open share of {open_share!r} leaves {count} open",
            "choose a share that leaves both open users and clients",
        )
    order = np.random.default_rng(derive(seed, "open users")).permutation(users)
    return Division(np.sort(order[:count]), np.sort(order[count:]))


def vocabulary(log: ClickLog) -> str:
    """SHA-256 (hex) of what the codes stand for: items with their attributes, and users' attribute values.

    It is the same for every part of a log, so that a model fits each client whose digest it has.
    """
    users = log.user_attributes
    state = hashlib.sha256(json.dumps([log.item_keys, users.names, users.values], ensure_ascii=False).encode())
    state.update(log.item_attributes.digest.encode())
    return state.hexdigest()


def fingerprint(digest: str, user: str) -> str:
    """Sixteen hex digits for one user of the log with that digest: enough to tell whether two are the same."""
    return hashlib.sha256(f"{digest}\0{user}".encode()).hexdigest()[:16]
