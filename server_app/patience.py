"""How long the server waits for a client: derived from what the client took before and from the bytes it gets and sends.

A fixed time-out is either too short for a slow link or far too long for a dead machine. Nothing is known before a
client's first round, so that one has the configured time.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping

ROUNDS = 3
"""Past rounds that count."""

FACTOR = 4.0
"""How much longer than its slowest counted round a client may take."""

GRACE = 60.0
"""Seconds on top: a new process and a model loaded, on a machine that is busy."""

LEAST_SPEED = 16 * 1024.0
"""Bytes a second below which a link is taken for dead."""


class Patience:
    """Remembers how long each client took.

    Parameters
    ----------
    most : seconds that are never exceeded.
    """

    def __init__(self, most: float) -> None:
        self._most = most
        self._seconds: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=ROUNDS))

    def note(self, client: str, seconds: float) -> None:
        """A client answered after so many seconds."""
        self._seconds[client].append(seconds)

    def seconds(self, clients: Iterable[str], payload: Mapping[str, int]) -> float:
        """How long to wait for all of these clients; ``payload`` is the bytes of each one's message."""
        waits = [
            FACTOR * max(self._seconds[client]) + GRACE + payload.get(client, 0) / LEAST_SPEED
            if self._seconds[client]
            else self._most
            for client in clients
        ]
        return min(self._most, max(waits, default=self._most))
