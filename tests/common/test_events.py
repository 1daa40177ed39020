"""common/events.py: the event log."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import RunError
from common.events import Away, Event, EventLog, Joined, RoundEnded, RunStarted, Warned, parse, read_events, read_lines


def test_events_are_read_as_they_were_written_and_heard_at_once(tmp_path: Path) -> None:
    heard: list[Event] = []
    log = EventLog(tmp_path / "run" / "events.jsonl", clock=lambda: 12.5)
    log.listen(heard.append)
    log.write(Away(["é"]))
    path = tmp_path / "run" / "events.jsonl"
    assert list(read_events(path)) == heard == [Away(["é"], time=12.5)]
    assert list(read_lines(path)) == [{"event": "away", "time": 12.5, "clients": ["é"]}]


def test_what_is_not_finite_is_null(tmp_path: Path) -> None:
    EventLog(tmp_path / "log").write(RoundEnded(1, {"train": float("nan")}, float("inf"), 1, {}, False))
    (event,) = read_events(tmp_path / "log")
    assert isinstance(event, RoundEnded) and event.seconds == {"train": None} and event.loss is None


def test_a_line_that_is_still_being_written_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "log"
    EventLog(path).write(Away([]))
    with path.open("a") as file:
        file.write('{"event": "ha')
    assert [event["event"] for event in read_lines(path)] == ["away"]


def test_half_a_line_of_a_process_that_died_does_not_spoil_the_next(tmp_path: Path) -> None:
    path = tmp_path / "log"
    EventLog(path).write(Away([]))
    with path.open("a") as file:
        file.write('{"event": "ha')
    EventLog(path).write(RunStarted("one", "/runs/one"))
    assert [event["event"] for event in read_lines(path)] == ["away", "run_started"]


def test_a_log_that_cannot_be_written_is_named_and_its_listeners_are_told(tmp_path: Path) -> None:
    heard: list[Event] = []
    log = EventLog(tmp_path / "log")
    log.listen(heard.append)
    (tmp_path / "log").mkdir()
    with pytest.raises(RunError, match=f"{tmp_path}/log' cannot be written: .*resume = true"):
        log.write(Away(["late"]))
    assert heard == [Away(["late"], time=heard[0].time)]


@pytest.mark.parametrize("line", ["{", "[1]", "\udcff", "[" * 100_000])
def test_a_damaged_line_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text(f'{{"event": "a"}}\n{line}\n{{"event": "b"}}\n', encoding="utf-8", errors="surrogateescape")
    with pytest.raises(RunError, match=r"events\.jsonl' is damaged in line 2 \(take that line out\)"):
        list(read_lines(path))


def test_a_kind_that_is_not_known_is_passed_over_and_a_new_field_too() -> None:
    assert parse({"event": "tomorrow"}) is None
    assert parse({"event": "joined", "time": 1.0, "clients": {}, "weather": "fine"}) == Joined({}, time=1.0)


@pytest.mark.parametrize(
    "line",
    [
        {},
        {"round": "1"},
        {"round": True},
        {"round": 1, "client": 3},
        {"round": 1, "client": "a", "kind": [], "reason": "x"},
    ],
)
def test_an_event_of_another_form_is_refused(line: dict) -> None:
    whole = {"event": "warning", "round": 1, "client": "a", "kind": "slow", "reason": "it waits"}
    assert parse(whole) == Warned(1, "a", "slow", "it waits")
    with pytest.raises(RunError, match="'warning'"):
        parse({"event": "warning", **line})
