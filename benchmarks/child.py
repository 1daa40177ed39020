"""Processes of a benchmark's own, one torch thread each, which end with it."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

import torch

SECONDS = 60.0
"""A child may take so long to say that it is ready, or to end."""

KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1 << 30), "MALLOC_TRIM_THRESHOLD_": str(1 << 30)}
"""Lets glibc keep freed memory, rather than give it to the kernel and fault it in again for each large tensor."""


@contextmanager
def child(
    task: Callable[..., None], *args: Any, environment: Mapping[str, str] | None = None, preload: str = ""
) -> Iterator[tuple[Connection, Any]]:
    """Runs ``task(connection, *args)`` in a fresh process; yields our end of the connection, and what it sent first.

    The task is to return once it receives something, or the connection is closed.

    Parameters
    ----------
    environment : variables that the process begins with.
    preload : a module; the process is forked from one that has done nothing but import it, rather than started anew.
        For tasks that are many and need no gRPC.

    Raises
    ------
    RuntimeError : it ended, or took too long, before it sent anything.
    """
    ours, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context("forkserver" if preload else "spawn")
    if preload:
        context.set_forkserver_preload([preload])
    process = context.Process(target=_begin, args=(task, theirs, *args))
    with _environment({"OMP_NUM_THREADS": "1", **(environment or {})}):
        process.start()
    theirs.close()
    try:
        yield ours, _first(ours, task.__name__)
    finally:
        ours.close()
        process.join(SECONDS)
        if process.is_alive():
            process.kill()
            process.join()


def wait(connection: Connection) -> None:
    """Returns once the parent sends something, closes its end, or is gone."""
    try:
        connection.recv()
    except EOFError:
        return


def _begin(task: Callable[..., None], connection: Connection, *args: Any) -> None:
    torch.set_num_threads(1)
    task(connection, *args)


def _first(connection: Connection, name: str) -> Any:
    try:
        if connection.poll(SECONDS):
            return connection.recv()
    except EOFError:
        pass
    raise RuntimeError(f"the process of {name!r} has not come up; what it printed says why")


@contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
    """A spawned process takes the environment that its parent has at that moment."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
