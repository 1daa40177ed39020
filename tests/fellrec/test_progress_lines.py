"""fellrec/progress_lines.py: a line for each event that matters."""

from __future__ import annotations

from dataclasses import replace

from common.events import Event, Rejected, Replied, RoundEnded, RoundStarted, Validated
from fellrec.progress_lines import ProgressLines


def told(*events: Event) -> list[str]:
    lines: list[str] = []
    tell = ProgressLines(lines.append)
    for event in events:
        tell(event)
    return lines


STARTED = RoundStarted(3, 6, ["a", "b"], 2, 2, time=100.0)
ENDED = RoundEnded(3, {}, 1.5, 2, {}, False, time=104.0)


def test_a_resumed_run_counts_its_time_from_its_own_first_round() -> None:
    assert told(STARTED, ENDED) == [
        "2 clients train for 6 rounds",
        "round 3/6: loss 1.5000, 2 clients, about 12 s left",
    ]


def test_the_metric_is_the_one_that_was_measured_before_the_round() -> None:
    (line,) = told(STARTED, Validated(2, "recall@10", {"recall@10": 0.25}, {}), ENDED)[1:]
    assert line == "round 3/6: loss 1.5000, 2 clients, recall@10 before it 0.2500, about 12 s left"
    assert "auc before it 0.7000" in told(STARTED, Validated(2, "auc", {"auc": 0.7}, {}), ENDED)[1]


def test_void_rounds_and_losses_that_were_not_reported_are_said() -> None:
    assert "void" in told(STARTED, replace(ENDED, void=True, loss=None))[1]
    assert "loss not reported" in told(STARTED, replace(ENDED, loss=None))[1]


def test_other_events_are_passed_over_and_text_from_outside_is_harmless() -> None:
    assert told(Replied(1, ["a"], True)) == []
    (line,) = told(Rejected(1, ["a"], "FR400", "\x1b[31mred\x07"))
    assert line.startswith("client a is left out of round 1: ") and "\x1b" not in line and "\x07" not in line
