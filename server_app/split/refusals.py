"""Callers that are turned away, as the operator sees them: each once, with what to do, then counted."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from threading import Lock

from common.line import line
from common.wire import Refused
from server_app.split.log_lines import LogLines

log = logging.getLogger("fellrec.split")

QUIET = 60.0
"""Seconds in which the same refusal of the same machine is counted, and not told again."""

MOST = 1024
"""Refusals that are remembered, each of no more than two lines."""

UNINVITED = ("UNAUTHENTICATED", "PERMISSION_DENIED")
ADVICE = {
    "UNAUTHENTICATED": "a node with an old or foreign token: its task is over, or it is no node of this run",
    "PERMISSION_DENIED": "a token used by somebody else, or for more than it allows: see which machine this is",
}


class Refusals:
    """Tells each refusal once a minute; those of callers that nobody invited as warnings.

    Parameters
    ----------
    clock : seconds.
    lines : how many a machine may cause; None counts them here alone.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, lines: LogLines | None = None) -> None:
        self._clock = clock
        self._lines = lines or LogLines(clock)
        self._told: dict[tuple[str, str], tuple[float, int]] = {}
        self._lock = Lock()

    def note(self, peer: str, refused: Refused) -> None:
        """A caller at ``peer`` (gRPC's form, ``ipv4:10.0.0.7:51234``) was refused."""
        machine = line(peer.rpartition(":")[0] or peer)
        key, now = (machine, refused.message), self._clock()
        with self._lock:
            since, more = self._told.get(key, (-QUIET, 0))
            quiet = now - since < QUIET
            if len(self._told) >= MOST:
                self._told.clear()
            self._told[key] = (since, more + 1) if quiet else (now, 0)
        if quiet or (left_out := self._lines.allow(machine)) is None:
            return
        level = logging.WARNING if refused.status in UNINVITED else logging.INFO
        advice = ADVICE.get(refused.status, refused.hint)
        counted = f"; {more} more since it was last told" if more else ""
        log.log(level, "refused %s: %s (%s)%s%s", machine, refused.message, advice, counted, left_out)
