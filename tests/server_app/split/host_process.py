"""Hosts in processes of their own, which can be killed: ``python -m tests.server_app.split.host_process``.

Reads one case per line, as JSON: model folder, kind, state folder, port, and where to die. For each, forks a host that
prints a line once it serves; when it has killed itself, forks another one on the same state that lives. Prints how
often it died once the last one was asked to end (SIGTERM).
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from common.cut import Cut
from common.pb import split_pb2 as pb
from server_app.split.engine import Engine
from server_app.split.settings import Limits
from server_app.split.snapshots import WORKING, SnapshotStore
from server_app.split.work import Work
from tests.server_app.split.tiny import SEED, host_for

CUT = Cut(1, 1)
LIMITS = {"graph": Limits(), "input": Limits(graph_bytes=0)}


def die_at(boundary: str, op: str, count: int) -> None:
    """Makes this process kill itself: ``boundary`` is one of received, computed, answered (with the operation) and
    unsaved, saved (of a working copy), at the ``count``-th time.
    """
    left = count

    def reached(place: str, work: Work | None = None) -> None:
        nonlocal left
        if place == boundary and (work is None or pb.Op.Name(work.request.op) == op):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def around(owner: type, name: str, before: str, after: str, argument: Callable[..., Any]) -> None:
        whole = getattr(owner, name)

        def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
            found = argument(*args)
            if found is False:
                return whole(self, *args, **kwargs)
            reached(before, found)
            result = whole(self, *args, **kwargs)
            reached(after, found)
            return result

        setattr(owner, name, wrapped)

    around(Engine, "_accept", "received", "queued", lambda item: item if isinstance(item, Work) else False)
    around(Engine, "_answer", "computed", "answered", lambda work, *_: work)
    around(SnapshotStore, "save", "unsaved", "saved", lambda client, name, *_: None if name == WORKING else False)


def serve(case: dict[str, Any], first: bool) -> None:
    """Serves until SIGTERM."""
    torch.set_num_threads(1)
    # blocked rather than handled: it may come before anyone waits for it
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    host = host_for(
        Path(case["folder"]), case["kind"], CUT, Path(case["state"]), port=case["port"], limits=LIMITS[case["rung"]]
    )
    if first:
        host.begin("ann", 1, 0.01, SEED)
        die_at(*case["death"])
    address = host.start()
    print(json.dumps({"address": address, "token": host.mint("ann", 60), "pid": os.getpid()}), flush=True)
    signal.sigwait({signal.SIGTERM})
    host.stop(0)


def main() -> None:
    """See the module."""
    for line in sys.stdin:
        case, deaths = json.loads(line), 0
        while True:
            child = os.fork()
            if child == 0:
                serve(case, first=deaths == 0)
                os._exit(0)
            _, status = os.waitpid(child, 0)
            if not os.WIFSIGNALED(status):
                break
            deaths += 1
        print(json.dumps({"deaths": deaths, "status": status}), flush=True)


if __name__ == "__main__":
    main()
