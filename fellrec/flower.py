"""Runs Flower for the ``fellrec`` command: a SuperLink of its own, and ``flwr run`` against it.

A SuperLink that Flower starts by itself lives on, with the environment and directory of whoever came first; another
checkout's code may then run in place of this one's. So the command starts one on free ports, from a neutral directory,
with its own ``FLWR_HOME``, and ends it.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from common.config import Value
from common.errors import RunError
from common.home import home
from common.version import VERSION
from fellrec import supervisor
from fellrec.flower_app import SHIPPED
from server_app.result import commit

START_WITHIN = 60.0
CONNECTION = "fellrec"


@dataclass(frozen=True)
class Flower:
    """A running SuperLink: its environment for Flower's commands, and where it logs."""

    environment: dict[str, str]
    folder: Path
    log: Path

    def run(self, app: Path, settings: Mapping[str, Value], nodes: int, cpus: int) -> subprocess.Popen[str]:
        """Starts ``flwr run`` for the app in folder ``app``; its output is to be read from ``stdout``."""
        recipe = write_settings(self.folder / "recipe.toml", settings)
        federation = f"num-supernodes={nodes} client-resources-num-cpus={cpus}"
        command = [
            tool("flwr"),
            "run",
            str(app),
            CONNECTION,
            "--stream",
            "--run-config",
            str(recipe),
            "--federation-config",
            federation,
        ]
        return supervisor.start(command, self.folder, self.environment, subprocess.PIPE, subprocess.STDOUT)


@contextmanager
def own_superlink() -> Iterator[Flower]:
    """A SuperLink in simulation mode for the duration of the context.

    Raises
    ------
    RunError : it does not come up.
    """
    root = home() / "flower"
    root.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="superlink-", dir=root))
    port, control = _free_port(), _free_port()
    (folder / "config.toml").write_text(
        f'[superlink]\ndefault = "{CONNECTION}"\n\n[superlink.{CONNECTION}]\naddress = "127.0.0.1:{port}"\ninsecure = true\n',
        encoding="utf-8",
    )
    environment = os.environ | {
        "FLWR_HOME": str(folder),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "FELLREC_HOME": str(home()),
        "FELLREC_COMMIT": revision(),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
    }
    log = folder / "superlink.log"
    command = [
        tool("flower-superlink"),
        "--insecure",
        "--simulation",
        "--isolation",
        "subprocess",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--control-api-address",
        f"127.0.0.1:{control}",
    ]
    with log.open("w") as output:
        process = supervisor.start(command, folder, environment, output, subprocess.STDOUT)
    try:
        _wait_until_up(process, port, log)
        yield Flower(environment, folder, log)
    finally:
        supervisor.end(process)
        shutil.rmtree(folder, ignore_errors=True)


def _wait_until_up(process: subprocess.Popen[str], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_WITHIN
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/health", timeout=1.0).is_success:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
    raise RunError(
        f"Flower's SuperLink did not come up on 127.0.0.1:{port} within {START_WITHIN:g} s", f"it said:\n{tail}"
    )


def revision() -> str:
    """The checkout's commit or, where a wheel is installed, the release's tag; '' where neither is known."""
    # git would name the commit of whatever repository the wheel's environment lies in
    return f"v{VERSION}" if SHIPPED.is_dir() else commit() or ""


def write_settings(path: Path, settings: Mapping[str, Value]) -> Path:
    """Writes settings as ``flwr run --run-config`` reads them; returns the path."""
    path.write_text("".join(f'"{key}" = {_toml(value)}\n' for key, value in settings.items()), encoding="utf-8")
    return path


def tool(name: str) -> str:
    """The path of one of Flower's commands.

    Raises
    ------
    RunError : Flower is not installed.
    """
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise RunError(f"{name!r} is not installed in this environment", "run `make setup`, or pip install fellrec")
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _toml(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return repr(value)
