"""The commands of the pages that tests do not run, each with the reason, and with what can be said of it all the same."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from common.errors import DataError, FellrecError
from fellrec.cli import app
from tests.docs.pages import CHECKOUT


@dataclass(frozen=True)
class Elsewhere:
    """Why a command is not run, and what is looked at instead."""

    reason: str
    look: Callable[[str], None]


def _target(line: str) -> None:
    assert re.search(rf"^{line.split()[1]}:", (CHECKOUT / "Makefile").read_text(), re.MULTILINE), line


def _extra(line: str) -> None:
    extras = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert all(name in extras for name in re.findall(r"\[(\w+)\]", line)), line


def _terms(line: str) -> None:
    """Everything but the download: the set is known, and without the licence accepted its terms are told."""
    words = [word for word in line.split()[1:] if word != "--accept-licence"]
    with pytest.raises(DataError) as told:
        CliRunner().invoke(app, words, catch_exceptions=False)
    assert "--accept-licence" in str(told.value), told.value


def _tracker(line: str) -> None:
    if importlib.util.find_spec("tensorboard") is None:
        with pytest.raises(FellrecError, match="tensorboard"):
            CliRunner().invoke(app, line.split()[1:], catch_exceptions=False)
    else:
        assert CliRunner().invoke(app, line.split()[1:], catch_exceptions=False).exit_code == 0


def _image(line: str) -> None:
    named = re.search(r"-f (\S+)", line)
    assert named
    text = (CHECKOUT / named[1]).read_text()
    assert all(re.search(rf"^ARG {name}\b", text, re.M) for name in re.findall(r"--build-arg (\w+)", line)), line


def _services(line: str) -> None:
    """The services are in the compose file, and what is named inside them is mounted there."""
    services = yaml.safe_load((CHECKOUT / "deploy" / "compose.yml").read_text())["services"]
    words = line.split()[2:]
    named = [words[words.index("--rm") + 1]] if words[0] == "run" else [w for w in words[1:] if not w.startswith("-")]
    assert set(named) <= set(services), line
    mounted = " ".join(str(volume) for volume in services["flwr"]["volumes"])
    for path in re.findall(r"/etc/fellrec/[\w./-]+", line):
        assert path in mounted or str(Path(path).parent) in mounted, path
    if "/opt/fellrec-app" in line:
        assert "WORKDIR /opt/fellrec-app" in (CHECKOUT / "deploy" / "Dockerfile").read_text()


def _nothing(line: str) -> None:
    """Nothing to look at."""


NOT_RUN: dict[str, Elsewhere] = {
    "git clone": Elsewhere("a network", _nothing),
    "cd fellrec": Elsewhere("goes with the clone; the test stands in a checkout", _nothing),
    "make setup": Elsewhere("a package index; the test's own environment is what it makes", _target),
    "make test": Elsewhere("the tests, of which this is one", _target),
    ". .venv/bin/activate": Elsewhere("the test's own environment is active", _nothing),
    "pip install": Elsewhere("a package index", _extra),
    "fellrec data prepare ml-1m --accept-licence": Elsewhere("a download", _terms),
    "fellrec data prepare amazon-2023-video-games --accept-licence": Elsewhere("a download", _terms),
    "fellrec track latest --to tensorboard": Elsewhere("an extra that may not be installed; run where it is", _tracker),
    "docker build": Elsewhere("a container engine; `make compose-test` runs it", _image),
    "docker compose": Elsewhere("a container engine; `make compose-test` runs it", _services),
}
"""By how the command begins."""
