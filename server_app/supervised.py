"""The split service of a run, kept alive: where it dies alone, another takes its place and its port, from what it saved.

Clients then find the same address, model and tokens, replay what was not on the disk yet, and go on: no number changes.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TypeVar

from prometheus_client import Metric

from common.errors import FellrecError, RunError, SplitError
from server_app.split.host import SplitHost

log = logging.getLogger("flwr")
T = TypeVar("T")

LOOK_EVERY = 0.5
"""Seconds between two looks at the service."""

RESTARTS = 10
"""How often a run's service may die; one that dies more often has a fault that a restart does not mend."""


class SupervisedHost:
    """A started :class:`SplitHost` that is replaced when it dies.

    Parameters
    ----------
    make : a service that has not been started, to listen on this port; 0 takes a free one.
    port : for the first.

    Attributes
    ----------
    address : ``host:port``, the same for every successor.

    Raises
    ------
    ConfigError, SplitError : as :class:`SplitHost`.
    """

    def __init__(self, make: Callable[[int], SplitHost], port: int) -> None:
        self._make, self._restarts = make, 0
        self._lock, self._ended = threading.RLock(), threading.Event()
        self._host: SplitHost | None = make(port)
        try:
            self.address = self._host.start()
            # rounds that a dead process left open start again: whoever still works on one is told at once
            for client in self._host.clients():
                self._host.rollback(client)
        except FellrecError:
            self._host.stop(grace=0.0)
            raise
        threading.Thread(target=self._watch, name="fellrec-split-watch", daemon=True).start()

    def call(self, work: Callable[[SplitHost], T]) -> T:
        """Does ``work`` with the service; where it dies over it, once more with its successor.

        Raises
        ------
        SplitError : what ``work`` raises, or the service keeps dying.
        RunError : the state folder cannot be written.
        """
        with self._lock:
            try:
                return self._persist(work)
            except OSError as error:
                raise RunError(
                    f"the split service's state cannot be written: {error}",
                    "make room there, then set resume = true to go on after the last whole round",
                ) from error

    def collect(self) -> Iterable[Metric]:
        """What the service that lives now has counted: a collector for Prometheus."""
        host = self._host
        return () if host is None else host.metrics.collect()

    def stop(self) -> None:
        """Ends the service, and the watch over it."""
        self._ended.set()
        with self._lock:
            if self._host is None:
                return
            if self._host.alive:
                self._host.stop()
            else:
                self._host.abandon()

    def _persist(self, work: Callable[[SplitHost], T]) -> T:
        host = self._alive()
        try:
            return work(host)
        except SplitError:
            if host.alive:
                raise
            return work(self._alive())

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_EVERY):
            # whoever calls next is told
            with suppress(FellrecError), self._lock:
                if not self._ended.is_set():
                    self._alive()

    def _alive(self) -> SplitHost:
        if self._host is not None:
            if self._host.alive:
                return self._host
            self._host.abandon()
            # its weights go before the successor's come
            self._host = None
        if self._restarts == RESTARTS:
            raise SplitError(f"the split service died {RESTARTS + 1!r} times in this run", "see the log for the reason")
        self._restarts += 1
        host = self._make(int(self.address.rpartition(":")[2]))
        host.start()
        self._host = host
        log.warning("the split service had died; it serves again on %s", self.address)
        return host
