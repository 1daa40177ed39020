"""A node's SuperNode: started, and started again while the SuperLink still takes the one before it for alive.

A SuperNode that is killed says no goodbye. Flower holds it for online until two of its heartbeats are missing, a minute at most,
and refuses whoever comes with the same key in that time; the SuperNode then ends, and tells a code that it has for other reasons
as well.
"""

from __future__ import annotations

import os
import queue
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from fellrec import supervisor
from fellrec.flower import tool

REFUSED, JOINED = "[code: 2004]", "SuperNode ID: "
"""What Flower says of a node that it refuses, and of one that it has taken."""

WAIT_FOR = 90.0
"""Seconds from the first refusal in which it is tried again: Flower's minute, and the time that starts take."""

PAUSE = 5.0
"""Seconds between two tries."""

SILENCE = 10.0
"""Seconds without a word after which a later try shows what it has said so far: it is not about to be refused."""

GOODBYE = 8.0
"""Seconds that a SuperNode has to sign off; one that does is taken again at once."""


class SuperNode:
    """One node's SuperNode, as often as it takes.

    Parameters
    ----------
    arguments : of ``flower-supernode``. mark : a file that is there while the node is joined; a health check looks at it.
    told : hears every line, Flower's and the one that says that it is tried again.
    """

    def __init__(self, arguments: Sequence[str], mark: Path | None, told: Callable[[str], None]) -> None:
        self._command = [tool("flower-supernode"), *arguments]
        self._mark, self._told = mark, told
        self._asked = threading.Event()
        self._process: subprocess.Popen[str] | None = None

    def run(self) -> int:
        """Runs until the SuperNode ends for good, or :meth:`leave` is called; returns its exit status."""
        deadline = None
        while True:
            status, refused = self._try(held=deadline is not None)
            if not refused or self._asked.is_set():
                return status
            if deadline is None:
                deadline = time.monotonic() + WAIT_FOR
                self._told(
                    "fellrec: the SuperLink refuses this node: after a kill it holds the node for online for up to a minute, or "
                    f"it does not know the node's key; trying again every {PAUSE:g} s, for {WAIT_FOR:g} s"
                )
            elif time.monotonic() > deadline:
                self._told(f"fellrec: refused for {WAIT_FOR:g} s: see whether this node's key is registered")
                return status
            self._asked.wait(PAUSE)
            if self._asked.is_set():
                return 0

    def leave(self, *_: object) -> None:
        """Has the SuperNode sign off, and :meth:`run` return; a signal handler."""
        self._asked.set()
        if self._process is not None:
            self._process.terminate()

    def _try(self, held: bool) -> tuple[int, bool]:
        """Runs a SuperNode to its end; returns its status, and whether it was refused.

        With ``held``, what it says is shown only where it is something else than one more refusal.
        """
        kept: list[str] = []
        refused = False
        self._process = process = supervisor.start(
            self._command, Path(), os.environ, subprocess.PIPE, subprocess.STDOUT, GOODBYE
        )
        if self._asked.is_set():
            process.terminate()
        try:
            for line in _lines(process):
                if line is not None:
                    kept.append(line)
                    refused |= REFUSED in line
                joined = line is not None and JOINED in line
                if joined and self._mark is not None:
                    self._mark.touch()
                held &= line is not None and not joined
                if not held:
                    self._show(kept)
            if not refused:
                self._show(kept)
        finally:
            supervisor.end(process)
            if self._mark is not None:
                self._mark.unlink(missing_ok=True)
        return process.returncode, refused

    def _show(self, kept: list[str]) -> None:
        for line in kept:
            self._told(line)
        kept.clear()


def _lines(process: subprocess.Popen[str]) -> Iterator[str | None]:
    """What a process says, line by line, to its end; None whenever it has been silent for :data:`SILENCE` seconds."""
    said: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        for line in process.stdout or ():
            said.put(line.rstrip("\n"))
        said.put(None)

    threading.Thread(target=read, daemon=True).start()
    while True:
        try:
            line = said.get(timeout=SILENCE)
        except queue.Empty:
            yield None
            continue
        if line is None:
            return
        yield line
