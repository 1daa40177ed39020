"""A federation of bare processes on this machine: a SuperLink, three SuperNodes, and whatever those start."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from client_app.node import all_clients
from common.config import from_flat
from common.events import read_lines
from common.run_folder import RunFolder
from fellrec.flower import tool, write_settings
from tests.federation import tiny_settings

INJECT = Path(__file__).parent / "inject"
CHECKOUT = Path(__file__).resolve().parents[2]
CLIENTS = ("toy-0", "toy-1", "toy-2")
SMALL = {
    "split__on": True,
    "num_server_rounds": 3,
    "train__examples": 16,
    "federation__timeout": 240.0,
    "federation__nodes_timeout": 120.0,
    "federation__min_clients": 3,
}


@dataclass
class Live:
    """Processes by their names, on ports of their own.

    Attributes
    ----------
    address : of the server. clocks : how many seconds a client's machine is off. namespaces : the network namespace that
        a process runs in. certificates : a folder of ``fellrec provision``; without one everything is plain text.
    """

    folder: Path
    home: Path
    clocks: Mapping[str, float] = field(default_factory=dict)
    address: str = "127.0.0.1"
    namespaces: Mapping[str, str] = field(default_factory=dict)
    certificates: Path | None = None
    port: int = 0
    _processes: dict[str, subprocess.Popen] = field(default_factory=dict)

    @property
    def to_come(self) -> list[Path]:
        """The faults that have not happened yet."""
        return sorted(self._plans.glob("*.json"))

    @property
    def _plans(self) -> Path:
        return self.folder / "plans"

    def begin(self) -> None:
        """Starts everything: the SuperLink and a SuperNode for each of CLIENTS."""
        self.start_superlink()
        for client in CLIENTS:
            self.start_node(client)

    def start_superlink(self) -> None:
        """Starts the SuperLink alone, and waits until it answers."""
        self.port = free_port()
        options = ["--host", self.address, "--port", str(self.port), "--database", str(self.folder / "state.db")]
        if self.certificates is None:
            options.append("--insecure")
        else:
            own = self.certificates / "server" / "superlink"
            for option, name in (("certfile", "tls.crt"), ("keyfile", "tls.key"), ("ca-certfile", "ca.crt")):
                options += [f"--ssl-{option}", str(own / name)]
        self._start("superlink", tool("flower-superlink"), *options)
        deadline = time.monotonic() + 60
        while "Uvicorn running" not in self.tail("superlink"):
            assert time.monotonic() < deadline, self.tail("superlink")
            time.sleep(0.3)

    def start_node(self, client: str, data: Path | None = None, through: int = 0) -> None:
        """Starts a client's SuperNode on its data, ``through`` a port that leads to the SuperLink where one is given."""
        if data is None:
            data = all_clients(from_flat(tiny_settings(self.home, **SMALL)), str(self.home))[client]
        own, safety = f'client-key="{client}" data-path="{data}"', ["--insecure"]
        if self.certificates is not None:
            authority = self.certificates / "nodes" / client / "ca.crt"
            own += f' split-root-certificate="{authority}"'
            safety = ["--root-certificates", str(authority)]
        self._start(
            client,
            tool("flower-supernode"),
            *safety,
            "--superlink",
            f"{self.address}:{through or self.port}",
            "--port",
            str(free_port()),
            "--node-config",
            own,
        )

    def pid(self, name: str) -> int:
        """Of a process that was started here."""
        return self._processes[name].pid

    @contextmanager
    def restarting(self, client: str) -> Iterator[None]:
        """Starts the client's SuperNode again when it ends, once, as an init system would."""
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(0.5):
                if self._processes[client].poll() is not None:
                    self.start_node(client)
                    return

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def run(self, name: str, keep_going: int = 2, seconds: float = 550.0, **changes: object) -> str:
        """Runs a tiny recipe to its end as an operator would; returns what was printed."""
        return self.run_settings(name, tiny_settings(self.home, **SMALL | changes), keep_going, seconds)

    def run_settings(self, name: str, settings: Mapping, keep_going: int = 0, seconds: float = 550.0) -> str:
        """Runs any settings to their end as an operator would; returns what was printed."""
        recipe = write_settings(self.folder / f"{name}.toml", settings)
        words = ["run", str(recipe), "--superlink", f"{self.address}:{self.port}", "--keep-going", str(keep_going)]
        if self.certificates is not None:
            words += ["--root-certificates", str(self.certificates / "server" / "superlink" / "ca.crt")]
        command = [sys.executable, "-c", "from fellrec.cli import main; main()", *words, "--set", f"run-name={name}"]
        done = subprocess.run(
            self._placed("operator", command),
            cwd=self.folder,
            env=self._environment("operator"),
            timeout=seconds,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        (self.folder / f"{name}.log").write_text(done.stdout)
        assert done.returncode == 0, f"{done.stdout[-4000:]}\n{self.tail('superlink')}"
        return done.stdout

    def outcome(self, name: str) -> RunFolder:
        """The run's folder."""
        return RunFolder.find(name, str(self.home))

    def events(self, name: str) -> list[dict]:
        """The run's event log."""
        return list(read_lines(self.outcome(name).events_path))

    def inject(self, **fault: object) -> None:
        """Has the next process that reaches this point of a run die there, once."""
        self._plans.mkdir(exist_ok=True)
        name = f"{fault['target']}-{fault['phase']}-{fault['round']}.json"
        (self._plans / name).write_text(json.dumps({"client": "", "pid": 0, **fault}))

    def tail(self, name: str) -> str:
        """What a process said last."""
        return (self.folder / f"{name}.out").read_text(errors="replace")[-3000:]

    def end(self) -> None:
        """Ends everything that was started."""
        for sign in (signal.SIGTERM, signal.SIGKILL):
            for process in reversed(self._processes.values()):
                try:
                    os.killpg(process.pid, sign)
                except ProcessLookupError:
                    continue
            for process in self._processes.values():
                try:
                    process.wait(8)
                except subprocess.TimeoutExpired:
                    continue

    def _start(self, name: str, *command: str) -> None:
        with (self.folder / f"{name}.out").open("a") as output:
            self._processes[name] = subprocess.Popen(
                self._placed(name, command),
                cwd=self.folder,
                env=self._environment(name),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _placed(self, name: str, command: Sequence[str]) -> list[str]:
        where = self.namespaces.get(name)
        return ["ip", "netns", "exec", where, *command] if where else list(command)

    def _environment(self, name: str) -> dict[str, str]:
        home = self.folder / f"flwr-{name}"
        home.mkdir(exist_ok=True)
        return os.environ | {
            "FLWR_HOME": str(home),
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
            "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.1",
            "FELLREC_HOME": str(self.home),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": f"{INJECT}{os.pathsep}{CHECKOUT}",
            "FELLREC_FAULT_PLANS": str(self._plans),
            "FELLREC_FAULT_CLOCK": str(self.clocks.get(name, 0)),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }


@contextmanager
def live(folder: Path, home: Path, clocks: Mapping[str, float] | None = None) -> Iterator[Live]:
    """A federation for the duration of the context."""
    found = Live(folder, home, clocks or {})
    try:
        found.begin()
        yield found
    finally:
        found.end()


def free_port() -> int:
    """A port that is free, as far as anyone can know."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
