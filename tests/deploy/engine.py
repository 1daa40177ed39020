"""A federation in containers: built, provisioned, started and asked; for tests that have an engine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from typer.testing import CliRunner

from client_app.node import all_clients
from common.config import from_flat
from fellrec.cli import app

CHECKOUT = Path(__file__).resolve().parents[2]
UID = 10001
NODES = ("sample-0", "sample-1", "sample-2")
SMALL = {
    "data.sets": "sample:3", "num-server-rounds": "3", "train.examples": "24", "evaluate.valid-users": "16",
    "evaluate.test-users": "32", "federation.timeout": "400.0",
}  # fmt: skip
"""A run of three short rounds."""


class Federation:
    """Compose's services of one test session; ``folder`` holds what they mount."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.image = os.environ.get("FELLREC_IMAGE") or "fellrec:compose-test"
        places = {"FELLREC_FEDERATION": "federation", "FELLREC_DATA": "data", "FELLREC_RECIPES": "recipes"}
        self._environment = os.environ | {
            "FELLREC_IMAGE": self.image, "COMPOSE_PROJECT_NAME": "fellrec-test", "GATEWAY_PORT": "0", "SPLIT_PORT": "0",
            "GRAFANA_PORT": "0",
            **{name: str(folder / place) for name, place in places.items()},
            **{f"NODE_{letter}": name for letter, name in zip("ABC", NODES, strict=True)},
        }  # fmt: skip

    def docker(self, *words: str, ok: bool = True, seconds: float = 900.0) -> subprocess.CompletedProcess:
        """Runs ``docker``; FELLREC_COMPOSE_ENGINE may name a file of shell settings that lead to the engine."""
        script = '[ -z "${FELLREC_COMPOSE_ENGINE:-}" ] || . "$FELLREC_COMPOSE_ENGINE"; exec docker "$@"'
        done = subprocess.run(
            ["bash", "-c", script, "docker", *words], cwd=CHECKOUT / "deploy", env=self._environment, timeout=seconds,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        assert done.returncode == 0 or not ok, f"docker {' '.join(words)}\n{done.stdout[-6000:]}"
        return done

    def compose(self, *words: str, ok: bool = True, seconds: float = 900.0) -> subprocess.CompletedProcess:
        """Runs ``docker compose``."""
        return self.docker("compose", *words, ok=ok, seconds=seconds)

    def flwr(self, *words: str, seconds: float = 900.0) -> str:
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

    def prepare(self, home: Path) -> None:
        """Makes certificates and the nodes' data, owned by the containers' user, and the image where none is named."""
        self.provision(
            "--server", "gateway", "--superlink", "gateway:8443", "--split", "serverapp:50051", "--nodes", ",".join(NODES),
            "--data-path", "/data", "--recipe", "demo",
        )  # fmt: skip
        for name, place in all_clients(from_flat({"data.sets": SMALL["data.sets"]}), str(home)).items():
            shutil.copytree(place, self.folder / "data" / name)
        (self.folder / "recipes").mkdir()
        self._own()
        if not os.environ.get("FELLREC_IMAGE"):
            wheels = os.environ.get("FELLREC_WHEELS")
            extra = ["--build-context", f"wheels={wheels}", "--build-arg", "TORCH_INDEX="] if wheels else []
            self.docker("build", "-q", "-f", "Dockerfile", "-t", self.image, *extra, str(CHECKOUT))

    def recipe(self, name: str, **changes: str) -> str:
        """Writes a run's settings as the image's own command makes them; returns the path for ``flwr run``."""
        lines = (self.folder / "federation" / "server" / "run.settings").read_text().split()
        overrides = [*lines, *(f"{k}={v}" for k, v in ({**SMALL, "run-name": name, **changes}).items())]
        words = [word for override in overrides for word in ("--set", override)]
        made = self.docker("run", "--rm", self.image, "fellrec", "check", "/opt/fellrec-app/recipes/demo.toml", *words)
        path = self.folder / "recipes" / f"{name}.toml"
        path.write_text(made.stdout)
        path.chmod(0o644)
        return f"/etc/fellrec/recipes/{name}.toml"

    def start(self, recipe: str) -> None:
        """Starts a run and returns."""
        self.flwr("flwr", "run", "/opt/fellrec-app", "fellrec", "-c", recipe)

    def events(self, name: str) -> list[dict]:
        """The run's event log so far."""
        path = f"/var/lib/fellrec/runs/{name}/events.jsonl"
        done = self.compose("exec", "-T", "serverapp", "cat", path, ok=False)
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]

    def wait(self, name: str, event: str, number: int = 0, seconds: float = 600.0) -> dict:
        """The run's first such event (of round ``number`` where that is given); fails when the run does."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for found in (seen := self.events(name)):
                assert found["event"] != "run_failed" or event == "run_failed", found
                if found["event"] == event and (not number or found.get("round") == number):
                    return found
            time.sleep(1.0)
        raise AssertionError(f"no {event} of round {number} in {seconds} s: {seen[-3:]}\n{self.logs()}")

    def result(self, name: str) -> dict:
        """The run's result."""
        path = f"/var/lib/fellrec/runs/{name}/result.json"
        return json.loads(self.compose("exec", "-T", "serverapp", "cat", path).stdout)

    def logs(self, *services: str) -> str:
        """What the services said."""
        return self.compose("logs", "--no-color", "--tail", "60", *services).stdout


@contextmanager
def federation(folder: Path, home: Path) -> Iterator[Federation]:
    """Everything up and registered; down and forgotten at the end."""
    found = Federation(folder)
    found.prepare(home)
    try:
        found.compose("up", "-d", "--wait", "superlink", "serverapp", "gateway")
        found.flwr("sh", "/etc/fellrec/server/register.sh", "fellrec")
        found.compose("up", "-d", "--wait")
        yield found
    finally:
        found.compose("--profile", "*", "down", "-v", "-t", "5", ok=False)
