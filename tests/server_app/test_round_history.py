"""server_app/round_history.py: when a run is over."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from common.errors import RunError
from common.events import EventLog, read_lines
from server_app.round_history import RoundHistory


def history(folder: Path, values: list[float | None], patience: int = 0) -> RoundHistory:
    found = RoundHistory("auc", patience, EventLog(folder / "log"), time.monotonic())
    for number, value in enumerate(values, 1):
        found.done.append({"round": number, "void": value is None, "auc": None, "clients_failed": {"a": "silent"}})
        if value is not None:
            found.validated(value)
    return found


def test_validation_completes_the_last_whole_round(tmp_path: Path) -> None:
    found = history(tmp_path, [0.5, None])
    found.validated(0.7)
    assert [record["auc"] for record in found.done] == [0.7, None]


@pytest.mark.parametrize(
    ("values", "patience", "over"),
    [
        ([0.5, 0.4, 0.4], 0, False),
        ([0.5, 0.4], 2, False),
        ([0.5, 0.4, 0.5], 2, True),
        ([0.5, 0.4, 0.51], 2, False),
        ([0.5, None, 0.4, 0.4], 2, True),
        ([], 1, False),
    ],
)
def test_a_run_is_over_when_its_last_rounds_are_no_better(
    tmp_path: Path, values: list[float | None], patience: int, over: bool
) -> None:
    assert history(tmp_path, values, patience).settled() is over
    assert (tmp_path / "log").exists() is over and (
        not over or next(iter(read_lines(tmp_path / "log")))["event"] == "stopped_early"
    )


def test_two_void_rounds_in_a_row_stop_it_and_name_who_failed(tmp_path: Path) -> None:
    history(tmp_path, [None, 0.5, None]).stop_if_void()
    with pytest.raises(RunError, match=r"in rounds 2 to 3: 1 failed, \{'a': 'silent'\} among them"):
        history(tmp_path, [0.5, None, None]).stop_if_void()


def test_a_resumed_run_goes_on_after_its_last_whole_round_and_counts_all_its_seconds(tmp_path: Path) -> None:
    done = history(tmp_path, [0.5, None, 0.6, None, None]).done
    found = RoundHistory("auc", 0, EventLog(tmp_path / "log"), time.monotonic())
    found.resume(done, 100.0)
    assert [record["round"] for record in found.done] == [1, 2, 3] and found.seconds() >= 100.0
    found.resume([record for record in done if record["void"]], 0.0)
    assert not len(found)
