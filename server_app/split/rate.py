"""How fast each client may send: a token bucket, which a request that has to wait drains ahead of its turn."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from common.wire import Refused


class Rate:
    """One bucket per owner, full at first.

    Parameters
    ----------
    per_second : cells (rows times width, and what attention costs) that flow into a bucket; 0 sets no limit.
    burst : cells that a bucket holds, at least those of the largest request.
    clock : seconds, from any beginning.
    """

    def __init__(self, per_second: float, burst: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second, self._burst, self._clock = per_second, max(burst, per_second), clock
        self._buckets: dict[str, tuple[float, float]] = {}
        self._lock = threading.Lock()

    def take(self, client: str, cells: int, patience: float) -> float:
        """Takes a request's cells; returns the seconds that it has to wait until they have flowed in.

        The wait is cheaper for everyone than a refusal: after one the client connects anew and sends its whole step again.

        Raises
        ------
        Refused : RESOURCE_EXHAUSTED, the wait would be longer than ``patience`` seconds; nothing is taken.
        """
        if not self._per_second:
            return 0.0
        with self._lock:
            now = self._clock()
            left, since = self._buckets.get(client, (self._burst, now))
            left = min(self._burst, left + (now - since) * self._per_second) - cells
            wait = max(0.0, -left / self._per_second)
            if wait > patience:
                raise Refused(
                    f"more than {self._per_second!r} tokens per second: {cells!r} more must wait for {wait:.1f} s",
                    "send less, or raise 'split.tokens-per-second'",
                    "RESOURCE_EXHAUSTED",
                )
            self._buckets[client] = left, now
        return wait
