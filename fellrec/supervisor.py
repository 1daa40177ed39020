"""Runs one command for a process, and ends all that came of it when that process ends, however it ends.

Flower and Ray start processes in sessions of their own, and whose parent dies is given to init: neither a terminal nor a process
group reaches them. A supervisor adopts them (Linux calls that a subreaper), so that they stay its descendants. It runs as a
script of its own, without fellrec, so that it is small and starts at once.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO

import psutil

POLITE = 2.0
"""Seconds between asking processes to end and ending them."""

LOOK_EVERY = 0.2
"""Seconds between two looks at the process that the command is run for."""

_PR_SET_CHILD_SUBREAPER = 36


def start(
    command: list[str],
    cwd: Path,
    env: Mapping[str, str],
    stdout: int | IO[str],
    stderr: int | IO[str],
    patience: float = POLITE,
) -> subprocess.Popen[str]:
    """Starts a command under a supervisor, out of the terminal's reach.

    The process returned is the supervisor: it ends with the command's exit status, and ``terminate()`` ends the command with
    everything that came of it: those that are asked and live on are killed after ``patience`` seconds.
    """
    own = [sys.executable, "-P", __file__, str(os.getpid()), str(patience)]
    return subprocess.Popen(
        [*own, *command],
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        text=True,
        start_new_session=True,
    )


def end(process: subprocess.Popen[str]) -> None:
    """Ends a command that :func:`start` started, and waits until nothing of it is left."""
    process.terminate()
    process.wait()


def supervise(command: list[str], parent: int, patience: float) -> int:
    """Runs ``command`` until it ends, until the process ``parent`` has ended, or until this one is asked to end.

    Returns the command's exit status, as a shell tells it.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    asked = threading.Event()
    for sign in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(sign, lambda *_: asked.set())
    child = subprocess.Popen(command).pid
    status = None
    while status is None and not asked.wait(LOOK_EVERY) and os.getppid() == parent:
        status = _reap(child)
    ended = _end_descendants(child, patience)
    status = ended if status is None else status
    return 128 - status if status < 0 else status


def _end_descendants(child: int, patience: float) -> int:
    """Ends every process that came of the command, in two steps; returns the status of ``child``, 0 where it had ended before."""
    told: dict[int, set[psutil.Process]] = {signal.SIGTERM: set(), signal.SIGKILL: set()}
    found, deadline = 0, time.monotonic() + patience
    while True:
        status = _reap(child)
        found = found if status is None else status
        left = psutil.Process().children(recursive=True)
        if not left:
            return found
        sign = signal.SIGTERM if time.monotonic() < deadline else signal.SIGKILL
        # one that is asked to end may still start another
        for process in set(left) - told[sign]:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(sign)
            told[sign].add(process)
        time.sleep(0.05)


def _reap(child: int) -> int | None:
    """Takes note of whoever has ended; returns the status of ``child`` where it is among them."""
    found = None
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == child:
                found = os.waitstatus_to_exitcode(ended[1])
    return found


if __name__ == "__main__":
    sys.exit(supervise(sys.argv[3:], int(sys.argv[1]), float(sys.argv[2])))
