"""fellrec/event_tail.py: whole events, once each, from now on."""

from __future__ import annotations

from pathlib import Path

from common.events import Away, Resumed
from fellrec.event_tail import EventTail


def test_events_come_once_when_their_line_is_whole(tmp_path: Path) -> None:
    tail, log = EventTail("one", str(tmp_path)), tmp_path / "runs" / "one" / "events.jsonl"
    assert tail.look() == []
    log.parent.mkdir(parents=True)
    log.write_text('{"event": "away", "clients": []}\n{"event": "resumed"')
    assert tail.look() == [Away([])] and tail.look() == []
    with log.open("a") as file:
        file.write(', "round": 1}\nno JSON\n[1]\n{"n": 2}\n{"event": "resumed"}\n{"event": "away", "clients": ["c"]}\n')
    assert tail.look() == [Resumed(1), Away(["c"])]


def test_what_is_there_already_is_passed_over(tmp_path: Path) -> None:
    log = tmp_path / "runs" / "one" / "events.jsonl"
    log.parent.mkdir(parents=True)
    log.write_text('{"event": "away", "clients": []}\n')
    tail = EventTail("one", str(tmp_path))
    with log.open("a") as file:
        file.write('{"event": "resumed", "round": 2}\n')
    assert tail.look() == [Resumed(2)]
