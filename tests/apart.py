"""A federation in two processes: the ServerApp here, all clients in a child; each side has a clock and memory of its own."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import psutil
from flwr.app import Context, Message, RecordDict

from server_app.app import app as server_app
from tests.federation import InProcessGrid

INJECT = Path(__file__).parent / "faults" / "inject"


class ApartGrid(InProcessGrid):
    """As :class:`InProcessGrid`, with the ClientApp at the other end of a pipe; it keeps no message."""

    def __init__(self, run_config: Mapping, nodes: int, connection: Connection) -> None:
        super().__init__(run_config, nodes)
        self._connection, self._sent_so_far = connection, 0

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        identities = []
        for message in messages:
            self._sent_so_far += 1
            identity = f"message-{self._sent_so_far}"
            message.metadata.__dict__["_message_id"] = identity
            self._connection.send(message)
            self._replies[identity] = self._connection.recv()
            identities.append(identity)
        return identities


@contextmanager
def apart(settings: Mapping, nodes: int = 1, clock: float = 0.0) -> Iterator[tuple[ApartGrid, psutil.Process]]:
    """A grid and the process of its clients, whose clock is so many seconds off."""
    ours, theirs = multiprocessing.Pipe()
    before = {name: os.environ.get(name) for name in ("PYTHONPATH", "FELLREC_FAULT_CLOCK")}
    os.environ |= {"PYTHONPATH": str(INJECT), "FELLREC_FAULT_CLOCK": str(clock)}
    child = multiprocessing.get_context("spawn").Process(target=_clients, args=(theirs, dict(settings), nodes))
    try:
        child.start()
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
    theirs.close()
    try:
        yield ApartGrid(settings, nodes, ours), psutil.Process(child.pid)
    finally:
        ours.close()
        child.join(30)
        child.kill()


def serve(settings: Mapping, grid: ApartGrid) -> None:
    """Runs the real ServerApp over the grid, to its end."""
    server_app(grid, Context(1, 0, {}, RecordDict(), dict(settings), 0))


def _clients(connection: Connection, settings: dict, nodes: int) -> None:
    import torch
    from flwr.supercore.task_identity import TaskIdentity

    TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = 1, 1, 1
    torch.set_num_threads(1)
    grid = InProcessGrid(settings, nodes)
    while True:
        try:
            message = connection.recv()
        except EOFError:
            return
        connection.send(grid._answer(message))
