"""Commands that are interrupted, by a signal, at a point of their work; and what is left of them then."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

WITHIN = 10.0
"""Seconds in which all of a command has to be gone."""

MAIN = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs, and so their tests, ignore Ctrl-C
from fellrec.cli import main
main()
"""


@dataclass
class Interrupted:
    """A command in a session of its own, as in a terminal.

    Attributes
    ----------
    home : its $FELLREC_HOME, and where it is started.
    """

    home: Path
    words: list[str]
    _seen: set[psutil.Process] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._log = self.home / "said"
        environment = os.environ | {"FELLREC_HOME": str(self.home), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        with self._log.open("w") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-c", MAIN, *self.words],
                cwd=self.home,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        """What it has printed so far."""
        return self._log.read_text(errors="replace")

    def wait_for(self, sign: str, within: float = 240.0) -> None:
        """Until ``sign`` is in what it printed, in the event log of one of its runs, or in the command line of a process."""
        deadline = time.monotonic() + within
        while sign not in self._signs():
            assert self._process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.05)

    def wait_for_library(self, name: str, within: float = 120.0) -> None:
        """Until the command itself has loaded such a shared library."""
        deadline = time.monotonic() + within
        while name not in Path(f"/proc/{self._process.pid}/maps").read_text():
            assert self._process.poll() is None and time.monotonic() < deadline, self.said
            time.sleep(0.02)

    def interrupt(self, sign: signal.Signals) -> int:
        """Sends a signal, Ctrl-C as a terminal does; returns the exit status once nothing is left.

        Raises
        ------
        AssertionError : something is.
        """
        self._living()
        if sign is signal.SIGINT:
            os.killpg(self._process.pid, sign)
        else:
            self._process.send_signal(sign)
        deadline = time.monotonic() + WITHIN
        while self._process.poll() is None or self._living():
            assert time.monotonic() < deadline, (sign, [one.cmdline() for one in self._living()], self.said)
            time.sleep(0.1)
        return self._process.returncode

    def end(self) -> None:
        """Kills what a failed test leaves."""
        for process in self._living():
            process.kill()

    def _signs(self) -> str:
        logs = "".join(path.read_text() for path in self.home.glob("runs/*/events.jsonl"))
        return f"{self.said}{logs}{' '.join(self._command_lines())}"

    def _command_lines(self) -> Iterator[str]:
        for process in self._living():
            try:
                yield " ".join(process.cmdline())
            except psutil.Error:
                continue

    def _living(self) -> list[psutil.Process]:
        """Whatever came of it, also once its parents are gone."""
        found = {psutil.Process(self._process.pid)} if self._process.poll() is None else set()
        for process in list(self._seen | found):
            try:
                found |= {process, *process.children(recursive=True)}
            except psutil.NoSuchProcess:
                continue
        self._seen |= found
        return [one for one in self._seen if one.is_running() and not _is_zombie(one)]


def _is_zombie(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
