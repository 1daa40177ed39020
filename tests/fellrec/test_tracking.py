"""fellrec/tracking.py, trackers.py and the command: an event log as curves.

The packages of the trackers are extras. TensorBoard's files are read where it is installed; what is written to MLflow and to
Weights & Biases is taken down by stand-ins for the few calls of theirs that are made.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from common.errors import ConfigError, RunError
from common.events import EventLog, Joined, Resumed, RoundEnded, RunEnded
from common.run_folder import RunFolder
from fellrec.cli import app
from fellrec.trackers import TRACKERS, MLflow, WandB
from fellrec.tracking import Point, followed_log, points, track, whole_log
from tests.fellrec.served import Runs


class Recorder:
    """A tracker that keeps what it is told."""

    def __init__(self) -> None:
        self.told: Mapping[str, Any] = {}
        self.points: list[Point] = []

    def settings(self, values: Mapping[str, Any]) -> None:
        self.told = values

    def point(self, point: Point) -> None:
        self.points.append(point)

    def close(self) -> None:
        pass


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("runs"))


def curves(found: list[Point]) -> dict[str, list[tuple[int, float]]]:
    result: dict[str, list[tuple[int, float]]] = {}
    for point in found:
        for name, value in point.values.items():
            result.setdefault(name, []).append((point.round, value))
    return result


def test_a_real_run_becomes_curves(runs: Runs, fellrec_home: Path) -> None:
    run, recorder = runs.get("encoder"), Recorder()
    count = track(whole_log(run.events_path), {"seed": 0}, recorder)
    found = curves(recorder.points)
    assert count == len(recorder.points) and recorder.told == {"seed": 0}
    rounds = run.result()["rounds"]
    assert found["round/loss"] == [(row["round"], row["loss"]) for row in rounds]
    assert dict(found["validation/recall@10"])[1] == rounds[0]["recall@10"]
    assert [step for step, _ in found["validation/recall@10"]] == [0, 1, 2]
    assert {"round/clients/toy-0/loss", "round/own_weight/toy-0", "round/seconds/train"} <= found.keys()
    assert found["round/clients_failed"] == [(1, 0.0), (2, 0.0)]
    assert all(isinstance(value, float) for rows in found.values() for _, value in rows)


def ended(number: int, loss: float | None = 1.0, time: float = 0.0, **parts: Any) -> RoundEnded:
    return RoundEnded(number, {}, loss, 1, **{"clients_failed": {}, "void": False} | parts, time=time)


def test_nothing_but_numbers_is_a_point() -> None:
    event = ended(1, None, 5.0, clients_failed={"a": "silent"}, clients={"a": {"loss": 0.5, "name": "x"}})
    assert list(points([event, Joined({"a": {"users": 3}}, time=1.0)])) == [
        Point(1, 5.0, {"round/clients_ok": 1.0, "round/clients_failed": 1.0, "round/clients/a/loss": 0.5})
    ]


def test_rounds_that_a_resumed_run_made_again_count_once(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events.jsonl", clock=lambda: 0.0)
    for number, loss in ((1, 1.0), (2, 2.0), (3, 3.0)):
        log.write(ended(number, loss))
    log.write(Resumed(1))
    for number, loss in ((2, 2.5), (3, 3.5)):
        log.write(ended(number, loss))
    recorder = Recorder()
    track(whole_log(tmp_path / "events.jsonl"), {}, recorder)
    assert curves(recorder.points)["round/loss"] == [(1, 1.0), (2, 2.5), (3, 3.5)]


def test_a_log_is_followed_until_the_run_ends(tmp_path: Path) -> None:
    path, waits = tmp_path / "events.jsonl", []
    log = EventLog(path, clock=lambda: 0.0)
    coming = iter([ended(1), ended(2), RunEnded()])

    def wait(seconds: float) -> None:
        waits.append(seconds)
        log.write(next(coming))

    assert [event.KIND for event in followed_log(path, wait)] == ["round_ended", "round_ended", "run_ended"]
    assert len(waits) == 3 and all(seconds > 0 for seconds in waits)


def test_a_follower_never_goes_back() -> None:
    recorder = Recorder()
    events = [ended(n) for n in (1, 2, 1, 2, 3)]
    assert track(iter(events), {}, recorder) == 4
    assert [point.round for point in recorder.points] == [1, 2, 2, 3]


@pytest.mark.parametrize("name", TRACKERS)
def test_a_missing_package_names_the_extra(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=rf"{name}.*pip install 'fellrec\[{name}\]'"):
        TRACKERS[name](tmp_path / "files", "one")
    assert not (tmp_path / "files").exists()


def test_tensorboard_reads_what_was_written(runs: Runs, fellrec_home: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra 'tensorboard' is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = runs.get("encoder")
    arguments = ["track", str(run.path), "--to", "tensorboard", "--dir", str(tmp_path)]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    read = EventAccumulator(str(tmp_path / "one"))
    read.Reload()
    losses = [row["loss"] for row in run.result()["rounds"]]
    assert [event.value for event in read.Scalars("round/loss")] == pytest.approx(losses)
    assert [event.step for event in read.Scalars("round/loss")] == [1, 2]


class MlflowClient:
    """Takes down what MLflow's client is asked."""

    made: list[MlflowClient] = []

    def __init__(self, uri: str) -> None:
        self.uri, self.calls = uri, []
        self.made.append(self)

    def get_experiment_by_name(self, name: str) -> None:
        return None

    def create_experiment(self, name: str) -> str:
        return "7"

    def create_run(self, experiment: str, run_name: str) -> SimpleNamespace:
        self.calls.append(("run", experiment, run_name))
        return SimpleNamespace(info=SimpleNamespace(run_id="r"))

    def log_param(self, *arguments: Any) -> None:
        self.calls.append(("param", *arguments))

    def log_metric(self, *arguments: Any, **named: Any) -> None:
        self.calls.append(("metric", *arguments, named))

    def set_terminated(self, run: str) -> None:
        self.calls.append(("ended", run))


def test_mlflow_gets_names_that_it_allows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    stand_in = ModuleType("mlflow")
    stand_in.MlflowClient = MlflowClient
    monkeypatch.setitem(sys.modules, "mlflow", stand_in)
    tracker = MLflow(tmp_path / "files", "one")
    tracker.settings({"seed": 3})
    tracker.point(Point(2, 1.5, {"validation/recall@10": 0.25}))
    tracker.close()
    client = MlflowClient.made[-1]
    assert client.uri.startswith("sqlite:////") and client.calls == [
        ("run", "7", "one"),
        ("param", "r", "seed", 3),
        ("metric", "r", "validation/recall_at_10", 0.25, {"timestamp": 1500, "step": 2}),
        ("ended", "r"),
    ]


def test_wandb_stays_offline_unless_it_is_told_otherwise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    calls: list[tuple] = []
    run = SimpleNamespace(
        config=SimpleNamespace(update=lambda values: calls.append(("config", values))),
        log=lambda values, step: calls.append(("log", values, step)),
        finish=lambda: calls.append(("finish",)),
    )
    stand_in = ModuleType("wandb")
    stand_in.init = lambda **named: calls.append(("init", named)) or run
    monkeypatch.setitem(sys.modules, "wandb", stand_in)
    tracker = WandB(tmp_path / "files", "one")
    tracker.settings({"seed": 3})
    tracker.point(Point(2, 1.5, {"round/loss": 0.25}))
    tracker.close()
    assert calls[0][1]["mode"] == "offline" and calls[0][1]["dir"] == str(tmp_path / "files")
    assert calls[1:] == [("config", {"seed": 3}), ("log", {"round/loss": 0.25}, 2), ("finish",)]


def test_a_run_without_a_log_is_refused(runs: Runs, fellrec_home: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((runs.get("encoder").path / "config.json").read_bytes())
    assert RunFolder.find(str(tmp_path)).name == tmp_path.name
    with pytest.raises(RunError, match="no event log"):
        CliRunner().invoke(app, ["track", str(tmp_path), "--to", "mlflow"], catch_exceptions=False)
