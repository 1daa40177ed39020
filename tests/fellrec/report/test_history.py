"""fellrec/report/history.py: a log becomes a history, whatever stands in it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fellrec.report.history import History
from tests.fellrec.report.logs import CLIENTS, a_round, log, timed

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KINDS = [
    "run_started",
    "joined",
    "away",
    "strategy",
    "resumed",
    "round_started",
    "replied",
    "validated",
    "round_ended",
    "rejected",
    "refused",
    "warning",
    "stopped_early",
    "measuring",
    "run_failed",
    "run_ended",
    "add",
    "__class__",
]
FIELDS = [
    "round",
    "of",
    "clients",
    "client",
    "ok",
    "loss",
    "weights",
    "seconds",
    "void",
    "clients_failed",
    "reason",
    "time",
    "run",
]
EVENT = st.fixed_dictionaries({"event": st.sampled_from(KINDS)}, optional=dict.fromkeys(FIELDS, JSON))


def test_rounds_clients_weights_and_validations_are_taken_in() -> None:
    history = History.of_events(log())
    assert (history.run, history.state, history.of, history.clients()) == ("one", "training", 2, sorted(CLIENTS))
    assert [entry.loss for entry in history.whole_rounds()] == [2.9, 2.8]
    entry = history.rounds[2]
    assert entry.weights["north"]["north"] == 0.4 and entry.clients["west"].loss == 5.0
    assert entry.answered == dict.fromkeys(CLIENTS, True)
    assert history.validations[1].clients["north"] == pytest.approx(0.14)
    assert history.validations[1].means.keys() == {"recall@10"}
    assert history.members["south"].users == 10 and history.unreadable == 0


def test_what_goes_wrong_is_named() -> None:
    more = [
        {"event": "away", "clients": ["west"]},
        {"event": "refused", "node": "7", "code": "FR400", "reason": "another release"},
        {"event": "rejected", "clients": ["north"], "round": 3, "code": "silent", "reason": "no reply"},
        {"event": "warning", "round": 3, "client": "south", "kind": "slow", "reason": "it took 90 s", "hint": "wait"},
        {"event": "run_failed", "code": "FR600", "reason": "[FR600] nobody is left"},
    ]
    history = History.of_events(log() + timed(more, 2000.0))
    assert [(found.who, found.kind, found.grave) for found in history.troubles] == [
        ("west", "away", False),
        ("node 7", "FR400", True),
        ("north", "silent", True),
        ("south", "slow", False),
        ("the run", "FR600", True),
    ]
    assert history.state == "failed" and "nobody is left" in history.reason and not history.members["west"].here
    assert history.troubles[3].hint == "wait" and history.troubles[3].round == 3 and history.last == 2004.0


def test_a_resumed_run_drops_what_came_after_its_checkpoint() -> None:
    began = {"event": "run_started", "run": "one", "folder": "/runs/one"}
    again = [began, {"event": "resumed", "round": 1}, *a_round(CLIENTS[:2], 2, 3)]
    history = History.of_events(log() + timed(again, 5000.0))
    assert sorted(history.rounds) == [1, 2] and set(history.rounds[2].clients) == set(CLIENTS[:2])
    # one round in five seconds since the run went on, one to go
    assert history.left() == 4.0


def test_time_left_is_told_while_rounds_are_to_come_only() -> None:
    assert History().left() is None
    events = log(rounds=2, of=4)
    assert History.of_events(events[:5]).left() is None
    history = History.of_events(events)
    assert history.left() == pytest.approx(2 * (events[-1]["time"] - events[5]["time"]) / 2)
    history.add({"event": "measuring", "time": 1.0, "clients": []})
    assert history.left() is None


@given(st.lists(JSON | EVENT, max_size=8))
def test_no_event_ends_the_reading(events: list[Any]) -> None:
    history = History()
    for event in events:
        history.add(event)
    history.clients()
    history.left()
