"""Callers that get no further than TLS, as the operator sees them: gRPC's own lines, once a reason, with what to do.

gRPC tells nobody but the process's stderr that a handshake failed, and Flower sends the stderr of a ServerApp to
``/dev/null``. There, and only there, a pipe takes its place: nothing is lost by that. gRPC names no machine, and writes
these lines where ``GRPC_VERBOSITY`` is ``info``.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable

log = logging.getLogger("fellrec.split")

STDERR = 2
QUIET = 60.0
"""Seconds in which the same reason is counted, and not told again."""

SIGN = "Handshake failed with error"
OTHER = "TLS failed"
ADVICE = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "a caller without a certificate: start a node with its node.env",
    "certificate has expired": "a node's certificate has ended: `fellrec provision --renew`, and copy its split.crt",
    "certificate is not yet valid": "a node's certificate is newer than this clock: `timedatectl set-ntp true` here",
    "unable to get local issuer certificate": "a node of another federation: give it the folder that was made for it",
    "WRONG_VERSION_NUMBER": "plain text: give a node ca.crt; else close the port to that machine",
    "HTTP_REQUEST": "plain HTTP, a browser or a scanner: close the port to that machine",
    OTHER: "`fellrec preflight` on the node says more",
}
"""By a part of gRPC's line; the last takes every other."""


class Handshakes:
    """Tells why handshakes fail, each reason once a minute.

    Parameters
    ----------
    clock : seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told: dict[str, tuple[float, int]] = {}
        self._restore: int | None = None

    def note(self, line: str) -> None:
        """A line of gRPC's; one that is of no handshake is passed over."""
        if SIGN not in line:
            return
        reason, now = next((part for part in ADVICE if part in line), OTHER), self._clock()
        since, more = self._told.get(reason, (-QUIET, 0))
        if now - since < QUIET:
            self._told[reason] = (since, more + 1)
            return
        self._told[reason] = (now, 0)
        counted = f"; {more} more since it was last told" if more else ""
        log.warning("refused a caller at the TLS handshake: %s (%s)%s", reason, ADVICE[reason], counted)

    def watch(self) -> bool:
        """Reads this process's stderr from now on, where that is ``/dev/null``; returns whether it is."""
        if self._restore is not None or os.fstat(STDERR).st_rdev != os.stat(os.devnull).st_rdev:
            return False
        self._restore = os.dup(STDERR)
        reader, writer = os.pipe()
        # who writes must never wait for the reader: a full pipe loses lines
        os.set_blocking(writer, False)
        os.dup2(writer, STDERR)
        os.close(writer)
        threading.Thread(target=self._read, args=(reader,), name="fellrec-split-handshakes", daemon=True).start()
        return True

    def close(self) -> None:
        """Gives stderr back."""
        if self._restore is not None:
            os.dup2(self._restore, STDERR)
            os.close(self._restore)
            self._restore = None

    def _read(self, reader: int) -> None:
        with os.fdopen(reader, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                self.note(line)
