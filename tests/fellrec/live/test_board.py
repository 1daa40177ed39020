"""fellrec/live/board.py: how it stands, at each moment of a run."""

from __future__ import annotations

from fellrec.live.board import NAMES, TROUBLES, board
from fellrec.report.history import History
from fellrec.report.markup import join
from tests.fellrec.report.logs import CLIENTS, log, timed
from tests.fellrec.report.reading import Page


def parts(events: list) -> dict[str, str]:
    found = board(History.of_events(events))
    assert tuple(found) == NAMES
    page = Page(join(*found.values()))
    assert len(page.values("id")) == len(set(page.values("id")))
    return {name: Page(part).said for name, part in found.items()}


def test_at_each_event_of_a_run_every_part_can_be_drawn() -> None:
    events = log(rounds=2)
    for upto in range(len(events) + 1):
        parts(events[:upto])
    assert "Waiting for a run" in parts([])["status"]


def test_who_is_at_work_who_answered_and_who_is_away() -> None:
    events = log(rounds=1, of=3)
    more = timed(
        [
            {"event": "round_started", "round": 2, "of": 3, "clients": list(CLIENTS), "quorum": 2, "messages": 3},
            {"event": "replied", "round": 2, "clients": ["north"], "ok": True},
            {"event": "replied", "round": 2, "clients": ["south"], "ok": False},
        ],
        2000.0,
    )
    found = parts(events + more)
    assert "2 of 3" in found["status"] and "answered in this round (quorum 2)" in found["status"]
    assert "left to train" in found["status"]
    assert [found["clients"].count(word) for word in ("answered", "failed", "at work")] == [1, 1, 1]
    away = parts([*events, {"event": "away", "time": 3.0, "clients": ["west"]}])
    assert "away" in away["clients"] and "the node left" in away["troubles"]


def test_a_failure_is_told_with_its_reason_and_the_newest_trouble_first() -> None:
    warnings = [
        {"event": "warning", "round": 1, "client": f"c{n}", "kind": "slow", "reason": f"reason {n}", "hint": ""}
        for n in range(TROUBLES + 2)
    ]
    failed = {"event": "run_failed", "code": "FR600", "reason": "nobody is left"}
    found = parts(log() + timed([*warnings, failed], 2000.0))
    assert "This run failed. nobody is left" in found["status"]
    assert (
        f"1failures; warnings and notes: {TROUBLES + 2}" in found["status"] and "failures" not in parts(log())["status"]
    )
    assert f"reason {TROUBLES + 1}" in found["troubles"] and "reason 0" not in found["troubles"]
    assert f"The {TROUBLES} newest of {TROUBLES + 3}." in found["troubles"]


def test_many_clients_are_counted_and_not_listed() -> None:
    users, told = [f"user-{n}" for n in range(500)], {"users": 1, "items": 9, "train_interactions": 8, "dataset": "toy"}
    events = timed(
        [
            {"event": "run_started", "run": "one", "folder": "/runs/one"},
            {"event": "joined", "clients": dict.fromkeys(users[:300], told), "back": []},
            {"event": "joined", "clients": dict.fromkeys(users[300:], told), "back": []},
            {"event": "round_started", "round": 1, "of": 2, "clients": users, "quorum": 300, "messages": 2},
            {"event": "replied", "round": 1, "clients": users[:300], "ok": True},
            {
                "event": "validated",
                "round": 0,
                "metric": "auc",
                "means": {"auc": 0.6, "user_auc": 0.7},
                "balance": {"worst": 0.5},
                "clients": dict.fromkeys(users, 0.6),
            },
            {
                "event": "round_ended",
                "round": 1,
                "seconds": {"train": 1.0},
                "loss": 0.5,
                "clients_ok": 300,
                "clients_failed": {"user-4": "silent"},
                "void": False,
                "clients": dict.fromkeys(users[:300], {"loss": 0.5}),
            },
        ]
    )
    assert "300 of 500" in parts(events[:5])["status"]
    found = parts(events)
    assert "500 of 500 clients" in found["clients"] and "1 failed in round 1" in found["clients"]
    assert "user-7" not in found["clients"] and len(found["curves"]) < 20_000
    gone = parts([*events, {"event": "away", "time": 1.0, "clients": users[300:]}])
    assert "300 of 500 clients" in gone["clients"] and "200 clients" in gone["troubles"]
