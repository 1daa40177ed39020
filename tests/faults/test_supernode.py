"""A SuperNode that is killed and started again at once, against a real SuperLink with keys: it is in again by itself."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from fellrec.cli import app
from fellrec.flower import tool
from fellrec.supernode import JOINED, REFUSED, WAIT_FOR
from tests.faults.live import free_port

pytestmark = pytest.mark.faults
SLOW = 120.0
"""Seconds that a start may take on a machine that does other things."""


@pytest.fixture
def federation(tmp_path: Path) -> Iterator[Path]:
    """A folder of ``fellrec provision``, its SuperLink up and its node registered."""
    address = f"127.0.0.1:{free_port()}"
    words = [
        "provision",
        "--out",
        str(tmp_path / "f"),
        "--server",
        "127.0.0.1",
        "--superlink",
        address,
        "--nodes",
        "one",
    ]
    assert CliRunner().invoke(app, words, catch_exceptions=False).exit_code == 0
    own = tmp_path / "f" / "server" / "superlink"
    (tmp_path / "config.toml").write_text(
        f'[superlink]\ndefault = "f"\n[superlink.f]\naddress = "{address}"\nroot-certificates = "{own}/ca.crt"\n'
    )
    command = [
        tool("flower-superlink"),
        "--host",
        "127.0.0.1",
        "--port",
        address.split(":")[1],
        "--enable-supernode-auth",
        "--isolation",
        "process",
        "--database",
        str(tmp_path / "state.db"),
        "--ssl-ca-certfile",
        str(own / "ca.crt"),
        "--ssl-certfile",
        str(own / "tls.crt"),
        "--ssl-keyfile",
        str(own / "tls.key"),
    ]
    with started(command, tmp_path, "superlink"):
        said(tmp_path, "superlink", "Uvicorn running")
        register = ["sh", str(tmp_path / "f" / "server" / "register.sh"), "f"]
        subprocess.run(register, env=environment(tmp_path), check=True, timeout=SLOW)
        yield tmp_path


class started:  # noqa: N801
    """A process and what came of it, for the duration of the context."""

    def __init__(self, command: list[str], folder: Path, name: str) -> None:
        with (folder / f"{name}.out").open("w") as output:
            self.process = subprocess.Popen(
                command, cwd=folder, env=environment(folder), stdout=output, stderr=subprocess.STDOUT
            )

    def __enter__(self) -> subprocess.Popen:
        return self.process

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(60)


def environment(folder: Path) -> dict[str, str]:
    return os.environ | {
        "FLWR_HOME": str(folder),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "PYTHONUNBUFFERED": "1",
        "FELLREC_ISOLATION": "process",
        "FELLREC_RUNTIME_PORT": str(free_port()),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }


def said(folder: Path, name: str, what: str, within: float = SLOW) -> str:
    deadline = time.monotonic() + within
    while what not in (text := (folder / f"{name}.out").read_text()):
        assert time.monotonic() < deadline, text
        time.sleep(0.1)
    return text


def identity(text: str) -> str:
    return re.search(rf"{JOINED}(\d+)", text)[1]  # type: ignore[index]


def test_a_killed_supernode_that_is_started_at_once_is_in_again_under_its_own_name(federation: Path) -> None:
    start = [str(federation / "f" / "nodes" / "one" / "start.sh")]
    with started(start, federation, "first") as first:
        before = identity(said(federation, "first", JOINED))
        below = psutil.Process(first.pid).children(recursive=True)
        (flower,) = [one for one in below if one.cmdline()[1].endswith("flower-supernode")]
        flower.send_signal(signal.SIGKILL)
        assert first.wait(60) == 128 + signal.SIGKILL
    with started(start, federation, "second"):
        text = said(federation, "second", JOINED, SLOW + WAIT_FOR)
        assert identity(text) == before
        # on a machine that takes a minute to start a process it is never refused
        assert text.count("fellrec: the SuperLink refuses this node") == min(1, text.count(REFUSED))
    # one that signs off is taken at once
    with started(start, federation, "third"):
        assert REFUSED not in said(federation, "third", JOINED)
