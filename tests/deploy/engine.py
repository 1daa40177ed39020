"""A federation in containers: built, provisioned, started and asked; for tests that have an engine."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from typer.testing import CliRunner

from client_app.node import all_clients
from common.config import from_flat
from common.data.filters import Filters
from common.data.prepare import prepare
from common.home import data_home
from fellrec.cli import app

CHECKOUT = Path(__file__).resolve().parents[2]
PROJECT = "fellrec-test"
UID = 10001
RAW, FILTERS = "ml-latest-small", Filters(core=20)
SET = RAW + FILTERS.suffix
NODES = tuple(f"{SET}-{number}" for number in range(3))
METRICS_PORT = 9464
SMALL = {
    "data.sets": f"{SET}:3",
    "num-server-rounds": "2",
    "train.examples": "64",
    "evaluate.valid-users": "16",
    "evaluate.test-users": "32",
    "federation.timeout": "1200.0",
    "federation.min-clients": "3",
    "split.metrics-port": str(METRICS_PORT),
}
"""A run of two short rounds on MovieLens: users and films with 20 ratings or more, so that a round is a minute."""


class Federation:
    """Compose's services of one test session; ``folder`` holds what they mount."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder, folder / "home"
        self.image = os.environ.get("FELLREC_IMAGE") or "fellrec:compose-test"
        places = {"FELLREC_FEDERATION": "federation", "FELLREC_DATA": "data", "FELLREC_RECIPES": "recipes"}
        self._environment = os.environ | {
            "FELLREC_IMAGE": self.image,
            "COMPOSE_PROJECT_NAME": PROJECT,
            "GATEWAY_PORT": "0",
            "SPLIT_PORT": "0",
            "GRAFANA_PORT": "0",
            **{name: str(folder / place) for name, place in places.items()},
            **{f"NODE_{letter}": name for letter, name in zip("ABC", NODES, strict=True)},
        }

    def docker(self, *words: str, ok: bool = True, seconds: float = 1800.0) -> subprocess.CompletedProcess:
        """Runs ``docker``; FELLREC_COMPOSE_ENGINE may name a file of shell settings that lead to the engine."""
        script = '[ -z "${FELLREC_COMPOSE_ENGINE:-}" ] || . "$FELLREC_COMPOSE_ENGINE"; exec docker "$@"'
        done = subprocess.run(
            ["bash", "-c", script, "docker", *words],
            cwd=CHECKOUT / "deploy",
            env=self._environment,
            timeout=seconds,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0 or not ok, f"docker {' '.join(words)}\n{done.stdout[-6000:]}"
        return done

    def compose(self, *words: str, ok: bool = True, seconds: float = 1800.0) -> subprocess.CompletedProcess:
        """Runs ``docker compose``."""
        return self.docker("compose", *words, ok=ok, seconds=seconds)

    def flwr(self, *words: str, seconds: float = 1800.0) -> str:
        """A command of the operator's, beside the SuperLink."""
        return self.compose("run", "--rm", "-T", "flwr", *words, seconds=seconds).stdout

    def provision(self, *words: str) -> None:
        """Runs ``fellrec provision``; what it makes belongs to the containers' user."""
        line = ["provision", "--out", str(self.folder / "federation"), *words]
        assert CliRunner().invoke(app, line, catch_exceptions=False).exit_code == 0
        self._own()

    def _own(self) -> None:
        for path in (self.folder, *self.folder.rglob("*")):
            os.chown(path, UID, UID)

    def prepare(self, raw: Path) -> None:
        """Makes certificates, the nodes' data and, where none is named, the image; all belongs to the containers' user."""
        self.provision(
            "--server",
            "gateway",
            "--superlink",
            "gateway:8443",
            "--split",
            "serverapp:50051",
            "--nodes",
            ",".join(NODES),
            "--data-path",
            "/data",
            "--recipe",
            "demo",
        )
        prepare(RAW, raw, data_home(str(self.home)), filters=FILTERS)
        clients = all_clients(from_flat({"data.sets": SMALL["data.sets"]}), str(self.home))
        assert tuple(clients) == NODES
        for name, place in clients.items():
            shutil.copytree(place, self.folder / "data" / name)
        (self.folder / "recipes").mkdir()
        self._own()
        if not os.environ.get("FELLREC_IMAGE"):
            wheels = os.environ.get("FELLREC_WHEELS")
            extra = ["--build-context", f"wheels={wheels}", "--build-arg", "TORCH_INDEX="] if wheels else []
            self.docker("build", "-q", "-f", "Dockerfile", "-t", self.image, *extra, str(CHECKOUT))

    def recipe(self, name: str, **changes: str) -> str:
        """Writes a run's settings as ``fellrec check`` makes them; returns the path for ``flwr run``."""
        lines = (self.folder / "federation" / "server" / "run.settings").read_text().split()
        overrides = [*lines, *(f"{k}={v}" for k, v in ({**SMALL, "run-name": name, **changes}).items())]
        words = [word for override in overrides for word in ("--set", override)]
        made = CliRunner().invoke(app, ["check", "demo", *words], catch_exceptions=False)
        assert made.exit_code == 0, made.output
        path = self.folder / "recipes" / f"{name}.toml"
        path.write_text(made.stdout)
        path.chmod(0o644)
        return f"/etc/fellrec/recipes/{name}.toml"

    def start(self, recipe: str) -> str:
        """Starts a run; returns Flower's number of it."""
        said = self.flwr("flwr", "run", "/opt/fellrec-app", "fellrec", "-c", recipe)
        found = re.search(r"\b\d{12,}\b", said)
        assert found, said
        return found[0]

    def log(self, number: str) -> str:
        """What the ServerApp of a run has logged, as an operator reads it."""
        return self.flwr("flwr", "log", number, "fellrec", "--show")

    def events(self, name: str) -> list[dict]:
        """The run's event log so far."""
        path = f"/var/lib/fellrec/runs/{name}/events.jsonl"
        done = self.compose("exec", "-T", "serverapp", "cat", path, ok=False)
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]

    def wait(self, name: str, event: str, number: int = 0, seconds: float = 1800.0) -> dict:
        """The run's first such event (of round ``number`` where that is given); fails when the run does."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for found in (seen := self.events(name)):
                assert found["event"] != "run_failed" or event == "run_failed", found
                if found["event"] == event and (not number or found.get("round") == number):
                    return found
            time.sleep(1.0)
        raise AssertionError(f"no {event} of round {number} in {seconds} s: {seen[-3:]}\n{self.logs()}")

    def wait_for_training(self, name: str, number: int, seconds: float = 900.0) -> None:
        """Returns while a round's gradients go through the split service."""
        self.wait(name, "round_started", number)
        before, deadline = self._backwards(), time.monotonic() + seconds
        while self._backwards() == before:
            assert time.monotonic() < deadline, f"nobody trains in round {number}\n{self.logs()}"
            time.sleep(0.2)

    def _backwards(self) -> float:
        ask = f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:{METRICS_PORT}/metrics').read().decode())"
        lines = self.compose("exec", "-T", "serverapp", "python3", "-c", ask).stdout.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("fellrec_split_backwards_total"))

    def container(self, service: str) -> str:
        """The id of a service's container."""
        return self.compose("ps", "-q", service).stdout.strip()

    def cut(self, letter: str) -> None:
        """Takes a node off the network: its containers go on, and reach neither gateway nor split service."""
        for service in _node(letter):
            self.docker("network", "disconnect", f"{PROJECT}_node-{letter}", self.container(service))

    def mend(self, letter: str) -> None:
        """Puts a node back on its network."""
        for service in _node(letter):
            network = f"{PROJECT}_node-{letter}"
            self.docker("network", "connect", "--alias", service, network, self.container(service))

    def simulate(self, name: str, recipe: str) -> dict:
        """The result of the same recipe in simulation, in one container that sees all clients' data."""
        mounts = [f"{self.home}:/home/fellrec", f"{self.folder}/recipes:/etc/fellrec/recipes:ro"]
        settings = ["PYTHONPATH=/opt/fellrec-app", "FELLREC_HOME=/home/fellrec", "OMP_NUM_THREADS=1"]
        words = [word for mount in mounts for word in ("-v", mount)]
        words += [word for setting in settings for word in ("-e", setting)]
        # Ray's own start sometimes times out on a loaded machine; that says nothing of the numbers
        attempt = f"rm -rf /home/fellrec/runs; fellrec run {recipe} && exit 0"
        self.docker("run", "--rm", *words, self.image, "sh", "-c", f"for i in 1 2 3; do {attempt}; done; exit 1")
        return json.loads((self.home / "runs" / name / "result.json").read_text())

    def result(self, name: str) -> dict:
        """The run's result."""
        path = f"/var/lib/fellrec/runs/{name}/result.json"
        return json.loads(self.compose("exec", "-T", "serverapp", "cat", path).stdout)

    def logs(self, *services: str) -> str:
        """What the services said."""
        return self.compose("logs", "--no-color", "--tail", "60", *services).stdout


def _node(letter: str) -> tuple[str, str]:
    return f"supernode-{letter}", f"clientapp-{letter}"


@contextmanager
def federation(folder: Path, raw: Path) -> Iterator[Federation]:
    """Everything up and registered, on the real data in ``raw``; down and forgotten at the end."""
    found = Federation(folder)
    found.prepare(raw)
    try:
        found.compose("up", "-d", "--wait", "superlink", "serverapp", "gateway")
        found.flwr("sh", "/etc/fellrec/server/register.sh", "fellrec")
        found.compose("up", "-d", "--wait")
        yield found
    finally:
        found.compose("--profile", "*", "down", "-v", "-t", "5", ok=False)
