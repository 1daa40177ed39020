"""Local servers with certificates of a federation: an HTTPS one in a thread, and plain ports."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from fellrec.preflight import Finding, Node
from fellrec.provision import Deployment, provision

DEPLOYMENT = Deployment(("localhost",), "localhost:8443", "localhost:50051", "data", {})


def federation(folder: Path, name: str = "shop-a", days: float = 90) -> tuple[Path, Node]:
    """A provisioned federation with one node, and that node's settings."""
    provision(folder, DEPLOYMENT, [name], days)
    return folder, Node.from_env(folder / "nodes" / name / "node.env")


@contextmanager
def https(app: ASGIApp, pair: Path, host: str = "127.0.0.1") -> Iterator[str]:
    """Serves an app over TLS with ``tls.crt`` and ``tls.key`` of a folder; yields ``localhost:port``."""
    config = uvicorn.Config(
        app,
        host=host,
        port=0,
        ws="none",
        log_level="error",
        ssl_certfile=pair / "tls.crt",
        ssl_keyfile=pair / "tls.key",
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.02)
    try:
        yield f"localhost:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)


@contextmanager
def listening() -> Iterator[str]:
    """A port that takes connections and says nothing."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield f"localhost:{sock.getsockname()[1]}"


def free_address() -> str:
    """An address where nobody listens."""
    with listening() as address:
        return address


def verdicts(findings: list[Finding]) -> dict[str, str]:
    """The worst verdict of each check."""
    order = {"ok": 0, "warn": 1, "fail": 2}
    worst: dict[str, str] = {}
    for finding in findings:
        if order[finding.verdict] >= order[worst.get(finding.check, "ok")]:
            worst[finding.check] = finding.verdict
    return worst


def at(node: Node, **changes: object) -> Node:
    """The node with other settings."""
    return replace(node, **changes)
