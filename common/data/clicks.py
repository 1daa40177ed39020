"""What users were shown and whether they clicked, with attributes of users and items."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from common.data.attributes import Attributes
from common.data.manifest import digest_of
from common.data.split import Part
from common.errors import DataError


@dataclass(frozen=True, eq=False)
class ClickLog:
    """Rows of (user, item, click, time), sorted by user, then time, then the order they came in; sorted here.

    Parameters
    ----------
    user_keys, item_keys : the source's own ids, unique.
    users, items : int32 [n], positions in the keys.
    clicks : int8 [n], 1 or 0.
    times : int64 [n], milliseconds since 1970.
    user_attributes, item_attributes : one row for each key.
    generated : True for made-up data.
    parts : int8 [n], the part (train, valid, test) of each row; None while it is not split.
    """

    name: str
    user_keys: tuple[str, ...]
    item_keys: tuple[str, ...]
    users: NDArray[np.integer]
    items: NDArray[np.integer]
    clicks: NDArray[np.integer]
    times: NDArray[np.integer]
    user_attributes: Attributes
    item_attributes: Attributes
    generated: bool
    licence: str
    source: str
    parts: NDArray[np.int8] | None = None

    def __post_init__(self) -> None:
        columns = {name: _column(self.name, name, getattr(self, name), kind) for name, kind in _KINDS.items()}
        if self.parts is not None:
            columns["parts"] = _column(self.name, "parts", self.parts, np.int8)
        if len({len(column) for column in columns.values()}) > 1:
            self._refuse(f"columns differ in length: { ({n: len(c) for n, c in columns.items()})!r}")
        for what, keys, attributes in (
            ("users", self.user_keys, self.user_attributes),
            ("items", self.item_keys, self.item_attributes),
        ):
            own = columns[what]
            if len(set(keys)) < len(keys) or len(attributes.codes) != len(keys):
                self._refuse(
                    f"{len(keys)} keys of {what} ({len(set(keys))} distinct), {len(attributes.codes)} attributed"
                )
            if len(own) and not 0 <= own.min() <= own.max() < len(keys):
                self._refuse(f"{what} hold positions {own.min()} to {own.max()}, there are {len(keys)} keys")
        for what, allowed in (("clicks", (0, 1)), ("parts", tuple(Part))):
            wrong = np.setdiff1d(columns.get(what, []), allowed)
            if len(wrong):
                self._refuse(f"{what} hold {wrong[:5].tolist()!r}")
        order = np.lexsort((columns["times"], columns["users"]))
        for name, column in columns.items():
            column = column[order]
            column.flags.writeable = False
            object.__setattr__(self, name, column)

    def __len__(self) -> int:
        return len(self.users)

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """int64 [U + 1]: user u's rows are ``offsets[u]`` up to ``offsets[u + 1]``."""
        return np.concatenate([[0], np.cumsum(np.bincount(self.users, minlength=len(self.user_keys)))]).astype(np.int64)

    @property
    def repeated(self) -> int:
        """How many rows have the user, the item and the moment of another that comes before them."""
        return int(self.repeats().sum())

    def repeats(self) -> NDArray[np.int64]:
        """The same of each user, int64 [U]."""
        order = np.lexsort((self.times, self.items, self.users))
        same = np.logical_and.reduce([np.diff(getattr(self, name)[order]) == 0 for name in ("users", "items", "times")])
        return np.bincount(self.users[order][1:][same], minlength=len(self.user_keys)).astype(np.int64)

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) over keys, attributes, rows and, where there are any, parts."""
        return digest_of(self.digests())

    def digests(self) -> dict[str, str]:
        """SHA-256 (hex) of each part of the log."""
        keys = json.dumps([self.user_keys, self.item_keys], ensure_ascii=False).encode()
        rows = hashlib.sha256()
        for name, kind in _KINDS.items():
            rows.update(getattr(self, name).astype(np.dtype(kind).newbyteorder("<")).tobytes())
        digests = {
            "keys": hashlib.sha256(keys).hexdigest(),
            "user_attributes": self.user_attributes.digest,
            "item_attributes": self.item_attributes.digest,
            "rows": rows.hexdigest(),
        }
        return digests if self.parts is None else digests | {"parts": hashlib.sha256(self.parts.tobytes()).hexdigest()}

    def restrict(self, users: ArrayLike, name: str) -> ClickLog:
        """Only these users (positions), in the order given; items, attributes and codes stay what they are."""
        chosen = np.asarray(users, dtype=np.int64)
        places = np.full(len(self.user_keys), -1)
        if len(np.unique(chosen)) < len(chosen) or (
            len(chosen) and not 0 <= chosen.min() <= chosen.max() < len(places)
        ):
            self._refuse(f"it has {len(places)} users; the positions to keep repeat or lie outside")
        places[chosen] = np.arange(len(chosen))
        rows = places[self.users] >= 0
        attributes = self.user_attributes
        return replace(
            self,
            name=name,
            user_keys=tuple(self.user_keys[user] for user in chosen),
            users=places[self.users[rows]].astype(np.int32),
            **{column: getattr(self, column)[rows] for column in ("items", "clicks", "times")},
            user_attributes=Attributes(attributes.names, attributes.values, attributes.codes[chosen]),
            parts=None if self.parts is None else self.parts[rows],
        )

    def _refuse(self, fault: str) -> None:
        raise DataError(f"click log {self.name!r}: {fault}")


_KINDS: dict[str, type[np.integer]] = {"users": np.int32, "items": np.int32, "clicks": np.int8, "times": np.int64}


def _column(log: str, name: str, values: ArrayLike, kind: type[np.integer]) -> NDArray[np.integer]:
    """A one-dimensional array of the type asked for; refuses what would lose its value on the way."""
    given = np.asarray(values)
    limits = np.iinfo(kind)
    if given.ndim != 1 or (given.size and not np.issubdtype(given.dtype, np.integer)):
        raise DataError(f"click log {log!r}: {name} is {given.dtype} of shape {given.shape!r}, not a list of integers")
    if given.size and not limits.min <= given.min() <= given.max() <= limits.max:
        raise DataError(f"click log {log!r}: {name} hold {given.min()} to {given.max()}")
    return given.astype(kind)
