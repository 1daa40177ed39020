"""What the service holds for its clients, in bytes: taken before memory is, given back by whoever took it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from enum import StrEnum

from common.wire import Refused


class Kind(StrEnum):
    """What is held."""

    MESSAGE = "message"
    REPLY = "reply"
    GRAPH = "graph"
    INPUT = "input"
    GRADIENT = "gradient"
    CACHE = "cache"


SETTINGS = {
    Kind.MESSAGE: "message-bytes",
    Kind.REPLY: "reply-bytes",
    Kind.GRAPH: "graph-bytes",
    Kind.INPUT: "input-bytes",
    Kind.CACHE: "cache-bytes",
}
"""Which of ``split.limits`` bounds a kind for one client; ``held-bytes`` bounds them all."""


class Held:
    """A share of the memory, held until :meth:`release`; releasing twice is harmless."""

    def __init__(self, memory: HeldMemory, owner: str, kind: Kind, nbytes: int) -> None:
        self.nbytes = nbytes
        self._memory, self._owner, self._kind = memory, owner, kind

    def resize(self, nbytes: int) -> None:
        """Makes the share what was really taken, even past a limit: the memory is gone already."""
        change, self.nbytes = nbytes - self.nbytes, nbytes
        self._memory._change(self._owner, self._kind, change)

    def release(self) -> None:
        """Gives the share back."""
        self.resize(0)


class HeldMemory:
    """The account: a limit over everything, and one per owner, and over all owners, for each kind that has one.

    Parameters
    ----------
    total : bytes over all owners and kinds.
    per_owner : bytes of a kind for one owner. per_kind : for all owners together.
    """

    def __init__(self, total: int, per_owner: Mapping[Kind, int], per_kind: Mapping[Kind, int] | None = None) -> None:
        self._total, self._per_owner, self._per_kind = total, per_owner, per_kind or {}
        self._taken: Counter[tuple[str, Kind]] = Counter()
        self._of_kind: Counter[Kind] = Counter()
        self._sum = 0
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Held at present."""
        return self._sum

    def offer(self, owner: str, kind: Kind, nbytes: int) -> Held | None:
        """A share, or None where a limit would be passed."""
        with self._lock:
            if self._passed(owner, kind, nbytes):
                return None
            self._add(owner, kind, nbytes)
        return Held(self, owner, kind, nbytes)

    def take(self, owner: str, kind: Kind, nbytes: int) -> Held:
        """A share.

        Raises
        ------
        Refused : RESOURCE_EXHAUSTED, a limit would be passed.
        """
        with self._lock:
            if passed := self._passed(owner, kind, nbytes):
                name, limit, held = passed
                raise Refused(
                    f"no room for {nbytes!r} bytes of {kind}s, {held!r} are held: 'split.limits.{name}' = {limit!r}",
                    "send smaller micro-batches, or raise it",
                    "RESOURCE_EXHAUSTED",
                )
            self._add(owner, kind, nbytes)
        return Held(self, owner, kind, nbytes)

    def _passed(self, owner: str, kind: Kind, nbytes: int) -> tuple[str, int, int] | None:
        """The limit that so many bytes more would pass: its name, its value, and what is held under it."""
        limits = [
            (SETTINGS.get(kind, ""), self._per_owner.get(kind), self._taken[owner, kind]),
            (f"all-{SETTINGS.get(kind, '')}", self._per_kind.get(kind), self._of_kind[kind]),
            ("held-bytes", self._total, self._sum),
        ]
        for name, limit, held in limits:
            if limit is not None and held + nbytes > limit:
                return name, limit, held
        return None

    def _change(self, owner: str, kind: Kind, nbytes: int) -> None:
        with self._lock:
            self._add(owner, kind, nbytes)

    def _add(self, owner: str, kind: Kind, nbytes: int) -> None:
        self._sum += nbytes
        self._of_kind[kind] += nbytes
        self._taken[owner, kind] += nbytes
        if not self._taken[owner, kind]:
            del self._taken[owner, kind]
