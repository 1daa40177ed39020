"""A simulated run as the command sees it: what cannot work starts nothing, and a result is its own, no earlier one's."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from common.config import from_flat
from common.errors import ConfigError, ModelError, RunError
from common.run_folder import RunFolder
from fellrec import simulation, supervisor
from fellrec.simulation import simulate
from tests.federation import federate, tiny_causal_settings, tiny_settings


class Flower:
    """Whose ``flwr run`` runs a program in place of the app; its exit status is 0, as Flower's own is."""

    def __init__(self, folder: Path, program: str) -> None:
        self._folder, self._program = folder, program

    def run(self, app: Path, settings: dict, nodes: int, cpus: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", self._program, settings["run-name"]]
        return supervisor.start(command, self._folder, os.environ, subprocess.PIPE, subprocess.STDOUT)


def test_a_run_that_fails_is_an_error_also_where_one_of_its_name_has_a_result(fellrec_home: Path) -> None:
    settings = tiny_settings(fellrec_home, num_server_rounds=1, run_name="one")
    federate(settings)
    log = RunFolder.find("one", str(fellrec_home)).events_path
    old = time.time() - 60
    line = {"time": old, "run": "one", "folder": "f"}
    log.write_text("".join(json.dumps(line | {"event": kind}) + "\n" for kind in ("run_started", "run_ended")))
    flower = Flower(fellrec_home, "print('ERROR: run one exists already')")
    with pytest.raises(RunError, match="ended without a result.*'one'") as failed:
        simulate(settings, from_flat(settings), 2, 1, Console(file=io.StringIO()), flower)  # type: ignore[arg-type]
    assert "one exists already" in failed.value.hint


def test_a_run_that_ends_well_gives_its_folder(fellrec_home: Path) -> None:
    settings = tiny_settings(fellrec_home, num_server_rounds=1, run_name="one")
    federate(settings)
    log = RunFolder.find("one", str(fellrec_home)).events_path
    flower = Flower(
        fellrec_home,
        f'import time; open({str(log)!r}, \'a\').write(f\'{{{{"event": "run_ended", "time": {{time.time()}}}}}}\\n\')',
    )
    out = io.StringIO()
    found = simulate(settings, from_flat(settings), 2, 1, Console(file=out, width=200), flower)  # type: ignore[arg-type]
    assert found.name == "one" and "toy-0" in out.getvalue()


@pytest.fixture
def no_flower(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulation, "own_superlink", lambda: pytest.fail("Flower was started"))


def test_a_prompt_that_does_not_fit_starts_nothing(fellrec_home: Path, no_flower: None) -> None:
    flat = tiny_causal_settings(fellrec_home, model__max_tokens=40)
    with pytest.raises(ConfigError, match="'model.max-tokens' = 40"):
        simulation.simulate(flat, from_flat(flat), 1, 1, Console(quiet=True))


def test_a_cut_that_the_model_does_not_have_starts_nothing(fellrec_home: Path, no_flower: None) -> None:
    flat = tiny_settings(fellrec_home, split__on=True, split__k=9)
    with pytest.raises(ModelError, match="cut k=9, m=1 is impossible"):
        simulation.simulate(flat, from_flat(flat), 1, 1, Console(quiet=True))
