"""How long a client stands still when its service is killed (SIGKILL) in mid-step and started again."""

from __future__ import annotations

import multiprocessing
import os
import random
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median

import torch

from benchmarks.child import SECONDS, wait
from benchmarks.harness import Result, Size, main, result
from benchmarks.hosting import RATE, SEED, TOKEN_SECONDS, Hosted, host_of
from benchmarks.models import save_model
from client_app.link import SplitLink

CLIENT = "client"
TARGET = 5.0
ROWS, TOKENS = 4, 64
STEPS = 5
"""Optimiser steps before the kill, so that there is something to restore and to replay."""


@dataclass
class Service:
    """A service on a port and a state folder of its own, which may be killed and started again."""

    hosted: Hosted
    state: Path
    port: int
    _process: multiprocessing.process.BaseProcess | None = field(default=None, init=False)
    _connection: Connection | None = field(default=None, init=False)

    def begin(self) -> None:
        """Starts the process; it serves later."""
        self._connection, theirs = multiprocessing.Pipe()
        self._process = multiprocessing.get_context("spawn").Process(
            target=_serve, args=(theirs, self.hosted, self.state, self.port), daemon=True
        )
        self._process.start()
        theirs.close()

    def served(self) -> tuple[float, str]:
        """When the process began to serve (``time.time``), and a token for the client."""
        if not self._connection.poll(SECONDS):
            raise RuntimeError("the service has not come up; what it printed says why")
        return self._connection.recv()

    def kill(self) -> None:
        """Ends the process without giving it a chance to do anything."""
        self._process.kill()
        self._process.join()
        self._connection.close()

    def end(self) -> None:
        """Ends the process in good order."""
        self._connection.close()
        self._process.join(SECONDS)
        if self._process.is_alive():
            self.kill()


def measure(size: Size) -> list[Result]:
    """Seconds from the kill to the end of the step that it interrupted, and their parts."""
    width, layers = size.pick((32, 3), (384, 6), (768, 12))
    with tempfile.TemporaryDirectory() as root:
        folder = save_model(Path(root) / "model", "bert", width, layers, heads=size.pick(2, 6, 12))
        turns = [_turn(Hosted(folder, width), Path(root) / f"state {turn}") for turn in range(size.pick(1, 3, 10))]
    stood, started, caught_up = (list(part) for part in zip(*turns, strict=True))
    return [
        result(
            "kill -9 in mid-step until that step has ended, the new process's start included",
            median(stood),
            TARGET,
            "lower",
            "s",
            longest=max(stood),
            turns=len(turns),
        ),
        result("of these, until the new process serves", median(started), None, "lower", "s"),
        result("of these, from then until the step has ended", median(caught_up), None, "lower", "s"),
    ]


def _turn(hosted: Hosted, state: Path) -> tuple[float, float, float]:
    state.mkdir()
    generator = torch.Generator().manual_seed(0)
    with _service(hosted, state) as (service, token):
        with SplitLink(f"127.0.0.1:{service.port}", token, hosted.link_settings) as link:
            for step in range(STEPS):
                hidden = torch.randn(ROWS, TOKENS, hosted.width, generator=generator)
                output, sent = link.forward(hidden)
                if step == STEPS - 1:
                    killed = time.time()
                    service.kill()
                    service.begin()
                link.backward(sent, torch.ones_like(output))
                link.step(RATE)
            # the step is over once its reply is there
            link.forward(hidden)
            ended = time.time()
            if link.step_number != STEPS:
                raise RuntimeError(f"the client stands at step {link.step_number}, not at {STEPS}")
        serving, _ = service.served()
    return ended - killed, serving - killed, ended - serving


@contextmanager
def _service(hosted: Hosted, state: Path) -> Iterator[tuple[Service, str]]:
    service = Service(hosted, state, _free_port())
    service.begin()
    try:
        yield service, service.served()[1]
    finally:
        service.end()


def _serve(connection: Connection, hosted: Hosted, state: Path, port: int) -> None:
    torch.set_num_threads(1)
    restarted = any(state.iterdir())
    host = host_of(hosted, state, port)
    if not restarted:
        host.begin(CLIENT, 1, RATE, SEED)
    host.start()
    connection.send((time.time(), host.mint(CLIENT, TOKEN_SECONDS)))
    wait(connection)
    host.stop(0)


def _free_port() -> int:
    """A port below those that the system gives to outgoing connections: while the service is dead nobody may take it."""
    for port in random.Random(os.getpid()).sample(range(20_000, 30_000), 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no free port between 20,000 and 30,000")


if __name__ == "__main__":
    main("recovery", __doc__, measure)
