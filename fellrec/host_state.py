"""What a run in this process would change of the process, kept and put back."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# Flower makes a message only where it knows which task this process is, and has no public name that says so.
from flwr.supercore.task_identity import TaskIdentity

from common.errors import RunError

SERVER_NODE = 1
"""Flower's own number of the node that a ServerApp is."""

_IDENTITY = ("_run_id", "_task_id", "_node_id")
_at_work = threading.Lock()


@contextmanager
def undisturbed(run_id: int, threads: int) -> Iterator[None]:
    """This process as the one of a Flower run, whose progress is not logged; afterwards it is as it was.

    Parameters
    ----------
    run_id : Flower's number of the run. threads : torch computes with so many.

    Raises
    ------
    RunError : another run is at work in this process.
    """
    if not _at_work.acquire(blocking=False):
        raise RunError(
            "another run is at work in this process",
            "wait until it has ended, or leave 'in_process' out for one of them",
        )
    log, identity = logging.getLogger("flwr"), {name: vars(TaskIdentity)[name] for name in _IDENTITY}
    level, before = log.level, torch.get_num_threads()
    devices = list(range(torch.cuda.device_count()))
    try:
        with torch.random.fork_rng(devices):
            TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = run_id, 1, SERVER_NODE
            torch.set_num_threads(threads)
            # progress is told by the run's events; what a client trips over is told nowhere else
            log.setLevel(logging.ERROR)
            yield
    finally:
        log.setLevel(level)
        torch.set_num_threads(before)
        for name, value in identity.items():
            setattr(TaskIdentity, name, value)
        _at_work.release()
