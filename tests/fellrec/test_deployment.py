"""A run on real nodes is seen through: what is taken up again, what is not, and with which settings."""

from __future__ import annotations

import io
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from common.config import from_flat
from common.errors import ConfigError, RunError
from fellrec import deployment
from fellrec.deployment import Drive
from fellrec.superlink import LOST, OutOfReach, RunState, reach

DIED = RunState("finished:failed", "No heartbeat received from the task")
DONE = RunState("finished:completed", "")
RUNNING = RunState("running", "")


class Scripted:
    """A SuperLink that tells a story: per run its log, then what is said of it each time somebody asks."""

    def __init__(self, *runs: tuple[Iterable[str], Iterable[RunState | Exception]]) -> None:
        self._runs = [(list(lines), iter(states)) for lines, states in runs]
        self.started: list[dict] = []
        self.refuses = 0

    def start(self, settings: dict) -> str:
        if self.refuses:
            self.refuses -= 1
            raise OutOfReach("it does not answer")
        self.started.append(dict(settings))
        return str(len(self.started) - 1)

    def lines(self, run: str):  # noqa: ANN201
        text = "".join(f"{line}\n" for line in self._runs[int(run)][0])
        return nullcontext(SimpleNamespace(stdout=io.StringIO(text)))

    def state(self, run: str) -> RunState:
        said = next(self._runs[int(run)][1])
        if isinstance(said, BaseException):
            raise said
        return said


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deployment, "PAUSE", 0.0)


def drive(superlink: Scripted, keep_going: int = 2, **settings: object) -> tuple[str, str]:
    out = io.StringIO()
    flat = {"run-name": "one", **settings}
    name = Drive(superlink, keep_going, Console(file=out, width=200)).run(flat, from_flat(flat))
    return name, out.getvalue()


def begun(last_round: int) -> list[str]:
    rounds = (f"INFO : round {number}/4: 3 clients train" for number in range(1, last_round + 1))
    return ["INFO : fellrec run one: /runs/one", *rounds]


def test_a_run_that_dies_goes_on_where_it_stood() -> None:
    superlink = Scripted((begun(2), [DIED]), (begun(4), [RUNNING, DONE]))
    name, said = drive(superlink)
    assert name == "one"
    assert [(run["resume"], run["run-name"]) for run in superlink.started] == [(False, "one"), (True, "one")]
    assert "failed in round 2: No heartbeat" in said and "1 more times" in said
    assert said.count("fellrec run one") == 2, "a log that is read again is told once"


def test_one_that_died_before_it_made_its_folder_starts_anew() -> None:
    superlink = Scripted(([], [DIED]), (begun(4), [DONE]))
    drive(superlink)
    assert [run["resume"] for run in superlink.started] == [False, False]


def test_a_folder_that_was_made_unseen_is_resumed() -> None:
    exists = RunState("finished:failed", "[FR600] run 'one' exists already (...)")
    superlink = Scripted(([], [DIED]), ([], [exists]), (begun(4), [DONE]))
    drive(superlink, keep_going=3)
    assert [run["resume"] for run in superlink.started] == [False, False, True]


def test_what_it_refuses_twice_is_not_asked_a_third_time() -> None:
    refused = RunState("finished:failed", "[FR100] 'split.port' = 1 is taken")
    superlink = Scripted((begun(0), [refused]), (begun(0), [refused]), (begun(4), [DONE]))
    with pytest.raises(RunError, match="again in the same way.*'split.port' = 1.*resume=true"):
        drive(superlink, keep_going=9)
    assert len(superlink.started) == 2


def test_failures_are_counted_and_a_stop_is_respected() -> None:
    superlink = Scripted(*[(begun(n), [DIED]) for n in (1, 2, 3)])
    with pytest.raises(RunError, match="failed 3 times"):
        drive(superlink)
    with pytest.raises(RunError, match="was stopped.*resume=true"):
        drive(Scripted((begun(1), [RunState("finished:stopped", "")])))


def test_a_superlink_that_is_away_is_waited_for_and_one_that_forgot_the_run_is_told_again() -> None:
    superlink = Scripted((begun(2), [OutOfReach("away"), RUNNING, LOST]), (begun(4), [DONE]))
    drive(superlink)
    assert [run["resume"] for run in superlink.started] == [False, True]


def test_a_superlink_that_never_answered_is_an_error_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    superlink = Scripted((begun(4), [DONE]))
    superlink.refuses = 1
    with pytest.raises(OutOfReach):
        drive(superlink)
    monkeypatch.setattr(deployment, "OUT_OF_REACH", -1.0)
    with pytest.raises(RunError, match="out of reach for"):
        drive(Scripted((begun(1), [OutOfReach("away")])))


def test_an_address_is_reached_safely_or_not_at_all(tmp_path: Path) -> None:
    with reach("127.0.0.1:8000") as found:
        text = Path(found.environment["FLWR_HOME"], "config.toml").read_text()
        assert 'address = "127.0.0.1:8000"' in text and "insecure = true" in text
    (tmp_path / "ca.pem").write_text("")
    with reach("recsys.example.org:8443", str(tmp_path / "ca.pem")) as found:
        text = Path(found.environment["FLWR_HOME"], "config.toml").read_text()
        assert f'root-certificates = "{tmp_path / "ca.pem"}"' in text and "insecure" not in text
    with pytest.raises(ConfigError, match="recsys.example.org:8443.*without TLS"), reach("recsys.example.org:8443"):
        pass
    with pytest.raises(ConfigError, match="--root-certificates with the connection 'prod'"), reach("prod", "ca.pem"):
        pass
    with pytest.raises(ConfigError, match="'nowhere.pem' is no file"), reach("prod.example.org:8443", "nowhere.pem"):
        pass
    with reach("prod") as found:
        assert found.name == "prod"


@pytest.mark.parametrize("asked", [KeyboardInterrupt(), SystemExit(143)])
def test_whoever_leaves_is_told_that_the_run_goes_on_and_what_ends_it(asked: BaseException) -> None:
    out = io.StringIO()
    flat = {"run-name": "one"}
    with pytest.raises(type(asked)):
        Drive(Scripted((begun(1), [asked])), 2, Console(file=out, width=200)).run(flat, from_flat(flat))  # type: ignore[list-item]
    assert "run one goes on without this command; `flwr stop 0` ends it" in out.getvalue()
