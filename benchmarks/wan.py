"""A slow link between two network namespaces of this machine: 1 Mbit/s each way, 200 ms there and back.

FELLREC_WAN_LINK names a tool that makes the link, called as ``TOOL NS_A IP/24 NS_B IP/24 --mbit R --delay-ms D`` (one way);
it says ``ready`` and lives as long as the link. Needs root and ``ip``.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TOOL = "FELLREC_WAN_LINK"
MBIT, DELAY_MS = 1.0, 100.0
CLONE_NEWNET = 0x40000000


@dataclass(frozen=True)
class Ends:
    """Two namespaces, and the address that each has on the link."""

    server: str
    client: str
    server_address: str = "10.77.0.1"
    client_address: str = "10.77.0.2"


def missing() -> str:
    """Why there can be no link here; '' where there can."""
    tool = os.environ.get(TOOL, "")
    if not Path(tool).is_file():
        return f"{TOOL} = {tool!r} names no tool that makes a slow link"
    if os.geteuid() != 0:
        return "a slow link takes root"
    return ""


@contextmanager
def slow_link(mbit: float = MBIT, delay_ms: float = DELAY_MS) -> Iterator[Ends]:
    """Both namespaces and the link between them, for the duration of the context."""
    ends = Ends(f"fellrec-s{os.getpid()}", f"fellrec-c{os.getpid()}")
    process: subprocess.Popen[str] | None = None
    try:
        for name in (ends.server, ends.client):
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        command = [
            sys.executable,
            os.environ[TOOL],
            ends.server,
            f"{ends.server_address}/24",
            ends.client,
            f"{ends.client_address}/24",
            "--mbit",
            f"{mbit:g}",
            "--delay-ms",
            f"{delay_ms:g}",
        ]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        said = process.stdout.readline().strip()
        if said != "ready":
            raise RuntimeError(f"the tool of {TOOL} said {said!r}, not 'ready'")
        yield ends
    finally:
        if process is not None:
            process.kill()
            process.wait()
        for name in (ends.server, ends.client):
            subprocess.run(["ip", "netns", "del", name], check=False)


def enter(name: str) -> None:
    """Moves this thread, and all that it starts from now on, into a network namespace."""
    with open(f"/run/netns/{name}", "rb") as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"cannot enter the network namespace {name!r}")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)
