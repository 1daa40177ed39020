"""fellrec/progress_lines.py: a line for each event that matters."""

from __future__ import annotations

from fellrec.progress_lines import ProgressLines


def told(*events: dict) -> list[str]:
    lines: list[str] = []
    tell = ProgressLines(lines.append)
    for event in events:
        tell(event)
    return lines


STARTED = {"event": "round_started", "time": 100.0, "round": 3, "of": 6, "clients": ["a", "b"]}
ENDED = {"event": "round_ended", "time": 104.0, "round": 3, "loss": 1.5, "clients_ok": 2, "void": False}


def test_a_resumed_run_counts_its_time_from_its_own_first_round() -> None:
    assert told(STARTED, ENDED) == [
        "2 clients train for 6 rounds",
        "round 3/6: loss 1.5000, 2 clients, about 12 s left",
    ]


def test_the_metric_is_the_one_that_was_measured_before_the_round() -> None:
    (line,) = told(STARTED, {"event": "validated", "recall@10": 0.25}, ENDED)[1:]
    assert line == "round 3/6: loss 1.5000, 2 clients, recall@10 before it 0.2500, about 12 s left"
    assert "auc before it 0.7000" in told(STARTED, {"event": "validated", "auc": 0.7}, ENDED)[1]


def test_void_rounds_and_losses_that_were_not_told_are_said() -> None:
    assert "void" in told(STARTED, ENDED | {"void": True, "loss": None})[1]
    assert "loss not told" in told(STARTED, ENDED | {"loss": None})[1]


def test_other_events_are_passed_over_and_text_from_outside_is_harmless() -> None:
    assert told({"event": "reply"}, {"event": "of_a_later_release"}) == []
    (line,) = told({"event": "rejected", "client": "a", "round": 1, "reason": "\x1b[31mred\x07"})
    assert line.startswith("client a is left out of round 1: ") and "\x1b" not in line and "\x07" not in line
