"""fellrec/python/running.py: a federation from Python, in this process and through Flower."""

from __future__ import annotations

from pathlib import Path

import pytest

import fellrec
from fellrec import simulation
from tests.clicks import click_settings
from tests.federation import tiny_settings


def test_progress_is_printed_as_lines_unless_quiet(fellrec_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = fellrec.run(tiny_settings(fellrec_home), {"run-name": "one", "num-server-rounds": 1}, in_process=True)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"run one: {fellrec_home}/runs/one" and lines[1] == "3 clients train for 1 rounds"
    assert lines[2].startswith(f"round 1/1: loss {run.rounds[0]['loss']:.4f}, 3 clients, recall@10 before it ")
    assert lines[-len(run.table().splitlines()) :] == run.table().splitlines()
    fellrec.run(tiny_settings(fellrec_home, num_server_rounds=1), in_process=True, quiet=True)
    assert capsys.readouterr().out == ""


def test_a_listener_takes_the_place_of_the_lines(fellrec_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    heard: list[str] = []
    fellrec.run(
        tiny_settings(fellrec_home, num_server_rounds=1), in_process=True, listen=lambda e: heard.append(e["event"])
    )
    assert heard.count("round_ended") == 1 and heard[-1] == "run_ended" and capsys.readouterr().out == ""


def test_a_click_models_progress_is_told(fellrec_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fellrec.run(click_settings(fellrec_home, num_server_rounds=1), in_process=True)
    assert "auc before it 0." in capsys.readouterr().out


def test_a_run_without_a_name_gets_one_of_its_own(fellrec_home: Path) -> None:
    settings = tiny_settings(fellrec_home, recipe="mine", num_server_rounds=1)
    names = {fellrec.run(settings, in_process=True, quiet=True).name for _ in range(2)}
    assert len(names) == 2 and all("-mine-fellrec-" in name for name in names)
    assert fellrec.load().name in names


def test_an_interrupted_run_says_how_to_go_on_and_does(fellrec_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = tiny_settings(fellrec_home, run_name="one", num_server_rounds=3)
    whole = fellrec.run(settings, {"run-name": "whole"}, in_process=True, quiet=True)

    def pressed(event: dict) -> None:
        if event["event"] == "round_ended" and event["round"] == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fellrec.run(settings, in_process=True, listen=pressed)
    assert "{'run-name': 'one', 'resume': True}" in capsys.readouterr().out
    half = fellrec.load("one")
    assert not half.ended and [row["round"] for row in half.rounds] == [1]
    run = fellrec.run(settings, {"resume": True}, in_process=True)
    assert "resumed after round 1" in capsys.readouterr().out
    assert run.metrics == whole.metrics and len(run.rounds) == 3


def test_a_run_that_was_interrupted_before_it_began_has_nothing_to_go_on_with(
    fellrec_home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def pressed(*given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("fellrec.in_process.server_app", pressed)
    with pytest.raises(KeyboardInterrupt):
        fellrec.run(tiny_settings(fellrec_home), in_process=True)
    assert capsys.readouterr().out == ""


def test_what_cannot_work_starts_nothing(fellrec_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulation, "own_superlink", lambda: pytest.fail("Flower was started"))
    for in_process in (True, False):
        with pytest.raises(fellrec.ConfigError, match="no recipe 'dem'"):
            fellrec.run("dem", in_process=in_process)
        with pytest.raises(fellrec.ModelError, match="cut k=9"):
            fellrec.run(tiny_settings(fellrec_home, split__on=True, split__k=9), in_process=in_process)
        with pytest.raises(fellrec.DataError, match="nothing-of-this-name"):
            fellrec.run(tiny_settings(fellrec_home, data__sets="nothing-of-this-name:3"), in_process=in_process)
    assert not (fellrec_home / "runs").exists()


@pytest.mark.live
@pytest.mark.parametrize("kind", ["encoder", "click"])
def test_a_run_through_flower_and_one_in_this_process_give_the_same_numbers(
    fellrec_home: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Flower's ServerApp, which hosts the middle layers, computes with all cores where nothing says otherwise
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    slow = {"federation.timeout": 120.0, "federation.nodes-timeout": 120.0}
    made = tiny_settings(fellrec_home, split__on=True) if kind == "encoder" else click_settings(fellrec_home)
    heard: dict[bool, list[str]] = {True: [], False: []}
    runs = [
        fellrec.run(made, slow, in_process=way, listen=lambda event, way=way: heard[way].append(event["event"]))
        for way in heard
    ]
    one, other = (run.result for run in runs)
    assert one["metrics"] == other["metrics"] and one["data"] == other["data"]
    for key in ("loss", "clients_ok", "void"):
        assert [row[key] for row in one["rounds"]] == [row[key] for row in other["rounds"]]
    assert sorted(heard[True]) == sorted(heard[False]) and heard[True][-1] == heard[False][-1] == "run_ended"
    assert one["run"]["mode"] == other["run"]["mode"] == "simulation"
