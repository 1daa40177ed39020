"""fellrec/live/feed.py: a browser gets what it lacks, and nothing it has."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from fellrec.live.board import NAMES
from fellrec.live.feed import KEPT, Feed, Position
from tests.fellrec.report.logs import log


def append(path: Path, events: list) -> None:
    with path.open("a") as file:
        file.writelines(json.dumps(event) + "\n" for event in events)


def test_only_parts_that_changed_are_given(tmp_path: Path) -> None:
    path, events = tmp_path / "events.jsonl", log(rounds=2)
    feed = Feed(lambda: path)
    waiting, run, parts = feed.now()
    assert waiting == Position(0, 0) and run == "" and set(parts) == set(NAMES)
    append(path, events[:6])
    started, found = feed.since(waiting)
    assert started == Position(1, 6) and set(found) == set(NAMES)
    assert feed.since(started) == (started, {})
    append(path, events[6:7])
    replied, found = feed.since(started)
    assert set(found) == {"status", "clients"} and feed.now()[1] == "one"
    append(path, events[7:])
    assert {"curves", "attention"} <= set(feed.since(replied)[1])


def test_positions_long_past_are_told_from_the_log_itself(tmp_path: Path) -> None:
    path, events = tmp_path / "events.jsonl", log(rounds=2)
    feed, fresh = Feed(lambda: path), Feed(lambda: path)
    for event in events:
        append(path, [event])
        feed.now()
    early = Position(1, len(events) - KEPT - 2)
    assert feed.since(early) == fresh.since(early)
    assert "troubles" not in feed.since(early)[1]


def test_another_log_and_positions_that_cannot_be_give_everything(tmp_path: Path) -> None:
    path, events = tmp_path / "events.jsonl", log(rounds=1)
    append(path, events)
    feed = Feed(lambda: path)
    position, *_ = feed.now()
    append(tmp_path / "copy", events)
    os.replace(tmp_path / "copy", path)
    again, found = feed.since(position)
    assert again == Position(2, len(events)) and set(found) == set(NAMES)
    assert set(feed.since(Position(2, 999))[1]) == set(NAMES)


@pytest.mark.parametrize("written", ["", "x", "1", "1.", "-1.2", "1.2.3", "1.2\n", "9" * 400 + ".1", "\u0661.\u0662"])
def test_what_is_no_position_is_the_beginning(written: str) -> None:
    assert Position.read(written) == Position()


def test_a_position_is_read_back() -> None:
    assert Position.read(str(Position(3, 14))) == Position(3, 14)
