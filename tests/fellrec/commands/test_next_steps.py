"""fellrec/commands/next_steps.py: the run is named as `fellrec` finds it, and the client is one that can be asked for."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from common.config import from_flat
from common.run_folder import RunFolder
from fellrec.commands.next_steps import after_deployment, after_simulation


def run(home: Path, name: str = "one", adapters: tuple[str, ...] = ("south",)) -> RunFolder:
    found = RunFolder.create(from_flat({"home": str(home), "run-name": name}), "")
    found.save_result({"metrics": {"clients": {"north": {}, "south": {}}}})
    (found.path / "adapters").mkdir()
    for client in adapters:
        (found.path / "adapters" / f"{client}.safetensors").touch()
    return RunFolder.find(name, str(home))


def test_the_run_by_its_name_and_a_client_with_an_adapter(fellrec_home: Path) -> None:
    assert after_simulation(run(fellrec_home)) == "next: fellrec report one, or fellrec recommend one --client south"


def test_a_run_without_adapters_has_a_report_only(fellrec_home: Path) -> None:
    assert after_simulation(run(fellrec_home, adapters=())) == "next: fellrec report one"


def test_a_run_under_another_home_is_given_as_a_folder(fellrec_home: Path, tmp_path: Path) -> None:
    found = run(tmp_path / "an other")
    command = after_simulation(found).removeprefix("next: ").split(", or ")[0]
    assert shlex.split(command) == ["fellrec", "report", str(found.path)]
    assert RunFolder.find(shlex.split(command)[2]).path == found.path


@pytest.mark.parametrize("here", [True, False])
def test_on_real_nodes_the_folder_may_be_elsewhere(fellrec_home: Path, here: bool) -> None:
    if here:
        run(fellrec_home)
    elsewhere = "" if here else ", on the machine that runs the ServerApp"
    assert after_deployment("one", str(fellrec_home)) == f"next{elsewhere}: fellrec report one"
