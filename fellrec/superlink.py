"""A SuperLink that is there already, by its name in Flower's configuration or its address: runs are started and asked after."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.config import LOOPBACK, Value
from common.errors import ConfigError, RunError
from fellrec import supervisor
from fellrec.flower import CONNECTION, tool, write_settings
from fellrec.flower_app import app_folder

ANSWER_WITHIN = 120.0
"""Seconds that one of Flower's commands may take."""


@dataclass(frozen=True)
class RunState:
    """What a SuperLink says of a run: ``pending``, ``starting``, ``running`` or ``finished:...``, and why it ended."""

    status: str
    details: str

    @property
    def ended(self) -> bool:
        """Whether it will go on."""
        return self.status.startswith("finished")

    @property
    def completed(self) -> bool:
        """Whether it ended well."""
        return self.status == "finished:completed"

    @property
    def stopped(self) -> bool:
        """Whether somebody ended it."""
        return self.status == "finished:stopped"

    @property
    def died(self) -> bool:
        """Whether its process ended without saying why."""
        return self.ended and "heartbeat" in self.details.lower()


LOST = RunState(
    "finished:lost", "no heartbeat: the SuperLink does not know the run, it was restarted without a database"
)


class OutOfReach(RunError):
    """The SuperLink does not answer, or refuses the request."""


@dataclass(frozen=True)
class SuperLink:
    """Flower's commands against one SuperLink.

    Parameters
    ----------
    name : of the connection in Flower's configuration. federation : for new runs; '' takes the connection's own.
    folder : for the settings of runs.
    """

    name: str
    federation: str
    environment: Mapping[str, str]
    folder: Path

    def start(self, settings: Mapping[str, Value]) -> str:
        """Starts a run of the app that is installed here; returns Flower's number of it.

        Raises
        ------
        OutOfReach : the SuperLink does not take it.
        """
        recipe = write_settings(self.folder / "settings.toml", settings)
        federation = ["--federation", self.federation] if self.federation else []
        with app_folder() as app:
            answer = self._ask("run", str(app), self.name, "--run-config", str(recipe), *federation)
        return str(answer["run-id"])

    def state(self, run: str) -> RunState:
        """How a run stands.

        Raises
        ------
        OutOfReach : the SuperLink does not answer.
        """
        for found in self._ask("ls", self.name)["runs"]:
            if found["run-id"] == run:
                return RunState(found["status"], found["status-details"])
        return LOST

    def lines(self, run: str) -> subprocess.Popen[str]:
        """A process whose ``stdout`` has the run's log from its beginning, as it is written; it ends with the run."""
        command = [tool("flwr"), "log", run, self.name, "--stream"]
        return supervisor.start(command, self.folder, self.environment, subprocess.PIPE, subprocess.DEVNULL)

    def _ask(self, *words: str) -> dict[str, Any]:
        command = [tool("flwr"), *words, "--format", "json"]
        try:
            done = subprocess.run(
                command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=ANSWER_WITHIN
            )
            answer: dict[str, Any] = json.loads(done.stdout)
        except subprocess.TimeoutExpired:
            raise OutOfReach(f"the SuperLink {self.name!r} did not answer within {ANSWER_WITHIN:g} s") from None
        except ValueError:
            said = "\n".join([*done.stdout.splitlines(), *done.stderr.splitlines()][-8:])
            raise OutOfReach(f"`flwr {words[0]}` said nothing that can be read", said) from None
        if not answer.get("success"):
            why = str(answer.get("error-message", "")).strip().splitlines()
            raise OutOfReach(
                f"the SuperLink {self.name!r} did not do `flwr {words[0]}`: {' '.join(why[-3:])}",
                "see whether it runs, and whether this machine reaches it",
            )
        return answer


@contextmanager
def reach(superlink: str, root_certificates: str = "", federation: str = "") -> Iterator[SuperLink]:
    """The SuperLink of this name in Flower's configuration, or at this ``host:port``.

    Raises
    ------
    ConfigError : an address on another machine without the authority of its certificate, or that is no file.
    """
    environment = os.environ | {
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "PYTHONUNBUFFERED": "1",
    }
    with tempfile.TemporaryDirectory(prefix="fellrec-") as folder:
        if ":" not in superlink:
            if root_certificates:
                raise ConfigError(
                    f"--root-certificates with the connection {superlink!r}",
                    "name it in Flower's own configuration, or give the SuperLink as host:port",
                )
            yield SuperLink(superlink, federation, environment, Path(folder))
            return
        if not root_certificates and superlink.rpartition(":")[0].strip("[]") not in LOOPBACK:
            raise ConfigError(f"--superlink = {superlink!r} without TLS", "give --root-certificates, or use 127.0.0.1")
        if root_certificates and not Path(root_certificates).is_file():
            raise ConfigError(
                f"--root-certificates = {root_certificates!r} is no file", "give the authority's PEM file"
            )
        safety = f"root-certificates = {json.dumps(str(Path(root_certificates).absolute()))}"
        (Path(folder) / "config.toml").write_text(
            f'[superlink]\ndefault = "{CONNECTION}"\n\n[superlink.{CONNECTION}]\naddress = "{superlink}"\n'
            f"{safety if root_certificates else 'insecure = true'}\n",
            encoding="utf-8",
        )
        yield SuperLink(CONNECTION, federation, environment | {"FLWR_HOME": folder}, Path(folder))
