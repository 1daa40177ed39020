"""What the service holds for its clients, in bytes: taken before memory is, given back by whoever took it."""

from __future__ import annotations

import threading
from collections import Counter
from enum import StrEnum

from common.wire import Refused


class Kind(StrEnum):
    """What is held."""

    MESSAGE = "message"
    GRAPH = "graph"
    INPUT = "input"
    GRADIENT = "gradient"
    CACHE = "cache"


class Held:
    """A share of the memory, held until :meth:`release`; releasing twice is harmless."""

    def __init__(self, memory: HeldMemory, client: str, kind: Kind, nbytes: int) -> None:
        self.nbytes = nbytes
        self._memory, self._client, self._kind = memory, client, kind

    def resize(self, nbytes: int) -> None:
        """Makes the share what was really taken, even past a limit: the memory is gone already."""
        change, self.nbytes = nbytes - self.nbytes, nbytes
        self._memory._change(self._client, self._kind, change)

    def release(self) -> None:
        """Gives the share back."""
        self.resize(0)


class HeldMemory:
    """The account: a limit over everything, and one per client for each kind that has one.

    Parameters
    ----------
    total : bytes over all clients and kinds.
    per_client : bytes of a kind for one client.
    """

    def __init__(self, total: int, per_client: dict[Kind, int]) -> None:
        self._total, self._per_client = total, per_client
        self._taken: Counter[tuple[str, Kind]] = Counter()
        self._sum = 0
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Held at present."""
        return self._sum

    def offer(self, client: str, kind: Kind, nbytes: int) -> Held | None:
        """A share, or None where a limit would be passed."""
        with self._lock:
            limit = self._per_client.get(kind, self._total)
            if self._sum + nbytes > self._total or self._taken[client, kind] + nbytes > limit:
                return None
            self._sum += nbytes
            self._taken[client, kind] += nbytes
        return Held(self, client, kind, nbytes)

    def take(self, client: str, kind: Kind, nbytes: int) -> Held:
        """A share.

        Raises
        ------
        Refused : RESOURCE_EXHAUSTED, a limit would be passed.
        """
        held = self.offer(client, kind, nbytes)
        if held is None:
            raise Refused(
                f"no room for {nbytes!r} bytes of {kind}s, {self._sum!r} are held",
                "send smaller micro-batches, or raise the service's limits", "RESOURCE_EXHAUSTED",
            )  # fmt: skip
        return held

    def _change(self, client: str, kind: Kind, nbytes: int) -> None:
        with self._lock:
            self._sum += nbytes
            self._taken[client, kind] += nbytes
            if not self._taken[client, kind]:
                del self._taken[client, kind]
