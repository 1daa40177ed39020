"""common/events.py: the event log."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import RunError
from common.events import EventLog, read_events


def test_events_are_read_as_they_were_written_and_heard_at_once(tmp_path: Path) -> None:
    heard: list[dict] = []
    log = EventLog(tmp_path / "run" / "events.jsonl", clock=lambda: 12.5)
    log.listen(heard.append)
    log.write("joined", client="é")
    assert (
        list(read_events(tmp_path / "run" / "events.jsonl"))
        == heard
        == [{"event": "joined", "time": 12.5, "client": "é"}]
    )


def test_what_is_not_finite_is_null(tmp_path: Path) -> None:
    EventLog(tmp_path / "log").write("x", values={"a": [float("nan"), 1.0]}, b=float("inf"))
    (event,) = read_events(tmp_path / "log")
    assert event["values"] == {"a": [None, 1.0]} and event["b"] is None


def test_a_line_that_is_still_being_written_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "log"
    EventLog(path).write("whole")
    with path.open("a") as file:
        file.write('{"event": "ha')
    assert [event["event"] for event in read_events(path)] == ["whole"]


def test_half_a_line_of_a_process_that_died_does_not_spoil_the_next(tmp_path: Path) -> None:
    path = tmp_path / "log"
    EventLog(path).write("whole")
    with path.open("a") as file:
        file.write('{"event": "ha')
    EventLog(path).write("after")
    assert [event["event"] for event in read_events(path)] == ["whole", "after"]


def test_a_log_that_cannot_be_written_is_named_and_its_listeners_are_told(tmp_path: Path) -> None:
    heard: list[dict] = []
    log = EventLog(tmp_path / "log")
    log.listen(heard.append)
    (tmp_path / "log").mkdir()
    with pytest.raises(RunError, match=f"{tmp_path}/log' cannot be written: .*resume = true"):
        log.write("late")
    assert [event["event"] for event in heard] == ["late"]


@pytest.mark.parametrize("line", ["{", "[1]", "\udcff", "[" * 100_000])
def test_a_damaged_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text(f'{{"event": "a"}}\n{line}\n{{"event": "b"}}\n', encoding="utf-8", errors="surrogateescape")
    with pytest.raises(RunError, match=r"events\.jsonl' is damaged in line 2 \(take that line out\)"):
        list(read_events(path))
