"""How many lines callers may put into the log: so many a minute each, and so many together; the rest is counted."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from threading import Lock

MINUTE = 60.0
OF_ONE = 30
"""Lines of one caller in a minute."""

OF_ALL = 600
"""Lines of all callers in a minute. Whoever calls under many names fills no disk either."""


class LogLines:
    """Says for each line whether it may be written.

    What is kept is the counts of one minute, of ``OF_ALL`` callers at most.

    Parameters
    ----------
    clock : seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since = clock()
        self._of: Counter[str] = Counter()
        self._total = self._left_out = 0
        self._lock = Lock()

    def allow(self, caller: str) -> str | None:
        """What to add to a line of ``caller``: '' or how many were left out before it; None where it is left out."""
        with self._lock:
            now = self._clock()
            if now - self._since >= MINUTE:
                self._since, self._total = now, 0
                self._of.clear()
            if self._total >= OF_ALL or self._of[caller] >= OF_ONE:
                self._left_out += 1
                return None
            self._total += 1
            self._of[caller] += 1
            left_out, self._left_out = self._left_out, 0
        return f"; {left_out} lines of callers were left out" if left_out else ""
