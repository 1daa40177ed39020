"""fellrec/event_tail.py: whole events, once each, from now on."""

from __future__ import annotations

from pathlib import Path

from fellrec.event_tail import EventTail


def test_events_come_once_when_their_line_is_whole(tmp_path: Path) -> None:
    tail, log = EventTail("one", str(tmp_path)), tmp_path / "runs" / "one" / "events.jsonl"
    assert tail.look() == []
    log.parent.mkdir(parents=True)
    log.write_text('{"event": "a"}\n{"event": "b"')
    assert tail.look() == [{"event": "a"}] and tail.look() == []
    with log.open("a") as file:
        file.write(', "n": 1}\nno JSON\n[1]\n{"n": 2}\n{"event": "c"}\n')
    assert tail.look() == [{"event": "b", "n": 1}, {"event": "c"}]


def test_what_is_there_already_is_passed_over(tmp_path: Path) -> None:
    log = tmp_path / "runs" / "one" / "events.jsonl"
    log.parent.mkdir(parents=True)
    log.write_text('{"event": "old"}\n')
    tail = EventTail("one", str(tmp_path))
    with log.open("a") as file:
        file.write('{"event": "new"}\n')
    assert tail.look() == [{"event": "new"}]
