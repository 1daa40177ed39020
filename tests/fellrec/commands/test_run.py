"""fellrec/commands/run.py and demo_command.py: the last line says what to do next, with this run's name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from client_app.recommend import Recommendations
from common.config import from_flat
from common.run_folder import RunFolder
from fellrec import deployment, recommending, simulation, superlink
from fellrec.cli import app


@pytest.fixture
def ended(fellrec_home: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run that every simulation is taken to end with."""
    found = RunFolder.create(from_flat({"home": str(fellrec_home), "run-name": "one"}), "")
    found.save_result({"metrics": {"clients": {"sample-0": {}}}})
    (found.path / "adapters").mkdir()
    (found.path / "adapters" / "sample-0.safetensors").touch()
    monkeypatch.setattr(simulation, "simulate", lambda *_: found)
    return found


def last_line(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output.splitlines()[-1]


def test_a_simulated_run_ends_with_what_to_do_next(ended: RunFolder) -> None:
    assert last_line("run", "demo") == "next: fellrec report one, or fellrec recommend one --client sample-0"


def test_so_does_the_demo(ended: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def ready(run: RunFolder) -> Iterator[SimpleNamespace]:
        assert run is ended
        yield SimpleNamespace(for_user=lambda: Recommendations("sample-0", "u", (), (), ()))

    monkeypatch.setattr(recommending, "recommending", ready)
    assert last_line("demo") == "next: fellrec report one, or fellrec recommend one --client sample-0"


def test_a_run_on_real_nodes_names_the_run_that_it_was(fellrec_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def reached(*where: str) -> Iterator[tuple[str, ...]]:
        yield where

    class Drive:
        def __init__(self, found: tuple[str, ...], keep_going: int, _: object) -> None:
            assert found == ("host:1", "ca.crt", "") and keep_going == 2

        def run(self, flat: dict, config: object) -> str:
            return "two"

    monkeypatch.setattr(superlink, "reach", reached)
    monkeypatch.setattr(deployment, "Drive", Drive)
    told = last_line("run", "demo", "--superlink", "host:1", "--root-certificates", "ca.crt", "--keep-going", "2")
    assert told == "next, on the machine that runs the ServerApp: fellrec report two"
