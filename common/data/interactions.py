"""Who met which item, and in what order."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from common.errors import DataError


@dataclass(frozen=True, eq=False)
class Interactions:
    """Interactions, sorted by user, then time, then the order they came in; sorted here if they are not yet.

    Parameters
    ----------
    user_keys : the source's own user ids, unique.
    users : int32 [n], positions in ``user_keys``.
    items : int32 [n], positions in the catalogue.
    times : int64 [n], seconds since 1970; None where only the order is known.
    """

    user_keys: tuple[str, ...]
    users: NDArray[np.int32]
    items: NDArray[np.int32]
    times: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        users, items = _integers("users", self.users, np.int32), _integers("items", self.items, np.int32)
        times = None if self.times is None else _integers("times", self.times, np.int64)
        if users.shape != items.shape or (times is not None and times.shape != users.shape):
            raise DataError(
                f"users, items and times differ in length: {[len(v) for v in (users, items, times) if v is not None]!r}"
            )
        if len(set(self.user_keys)) != len(self.user_keys):
            raise DataError("a user key occurs twice in user_keys", "keep one position for each key")
        if len(users) and not 0 <= users.min() <= users.max() < len(self.user_keys):
            raise DataError(
                f"users hold positions {users.min()} to {users.max()}, but there are {len(self.user_keys)} user keys"
            )
        if len(items) and items.min() < 0:
            raise DataError(f"items hold the negative position {items.min()}")
        order = np.argsort(users, kind="stable") if times is None else np.lexsort((times, users))
        for name, values in (("users", users), ("items", items), ("times", times)):
            if values is not None:
                values = values[order]
                values.flags.writeable = False
            object.__setattr__(self, name, values)

    def __len__(self) -> int:
        return len(self.users)

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """int64 [U + 1]: user u's rows are ``offsets[u]`` up to ``offsets[u + 1]``."""
        counts = np.bincount(self.users, minlength=len(self.user_keys))
        return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)

    def of_user(self, user: int) -> slice:
        """The rows of one user, in the order of time."""
        return slice(int(self.offsets[user]), int(self.offsets[user + 1]))

    def rows_of(self, users: ArrayLike) -> NDArray[np.int64]:
        """int64: the rows of several users, user by user in the order given."""
        chosen = np.asarray(users, dtype=np.int64)
        starts, counts = self.offsets[chosen], np.diff(self.offsets)[chosen]
        before = np.cumsum(counts) - counts
        rows: NDArray[np.int64] = np.arange(counts.sum()) + np.repeat(starts - before, counts)
        return rows

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) over user keys and rows."""
        state = hashlib.sha256(json.dumps(self.user_keys, ensure_ascii=False).encode())
        state.update(self.users.astype("<i4").tobytes())
        state.update(self.items.astype("<i4").tobytes())
        state.update(b"order" if self.times is None else self.times.astype("<i8").tobytes())
        return state.hexdigest()


def _integers(name: str, values: ArrayLike, dtype: type[np.integer]) -> NDArray[np.integer]:
    """A one-dimensional array of the type asked for; refuses what would lose its value on the way."""
    given = np.asarray(values)
    if given.ndim != 1 or (given.size and not np.issubdtype(given.dtype, np.integer)):
        raise DataError(f"{name} must be a list of integers, not {given.dtype} of shape {given.shape}")
    limits = np.iinfo(dtype)
    if given.size and not limits.min <= given.min() <= given.max() <= limits.max:
        raise DataError(f"{name} hold {given.min()} to {given.max()}, more than {np.dtype(dtype).name} holds")
    return given.astype(dtype)
