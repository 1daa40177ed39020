"""server_app/split/log_lines.py: callers fill no log."""

from __future__ import annotations

import logging
import sys

import pytest

from common.wire import Refused
from server_app.split.log_lines import MINUTE, OF_ALL, OF_ONE, LogLines
from server_app.split.refusals import MOST, Refusals


def test_a_caller_has_so_many_lines_a_minute_and_others_have_theirs() -> None:
    now = [0.0]
    lines = LogLines(lambda: now[0])
    assert [lines.allow("mallory") for _ in range(OF_ONE + 5)] == [""] * OF_ONE + [None] * 5
    assert lines.allow("ann") == "; 5 lines of callers were left out" and lines.allow("ann") == ""
    now[0] = MINUTE
    assert lines.allow("mallory") == ""


def test_many_callers_together_have_so_many_lines() -> None:
    lines = LogLines(lambda: 0.0)
    told = [lines.allow(f"caller {number}") for number in range(20 * OF_ALL)]
    assert sum(line is not None for line in told) == OF_ALL


def test_refusals_that_are_never_twice_the_same_are_bounded_in_the_log_and_in_memory(
    caplog: pytest.LogCaptureFixture,
) -> None:
    refusals = Refusals(clock=lambda: 0.0)
    with caplog.at_level(logging.INFO, "fellrec.split"):
        for number in range(3 * MOST):
            refusals.note(f"ipv4:10.0.0.7:{number}", Refused(f"digest is {'x' * 1000 + str(number)!r}" + 10_000 * "y"))
            refusals.note(f"ipv4:10.0.0.7:{number}", Refused(f"{number} is no shape" + 10_000 * "y"))
    assert len(caplog.records) == OF_ONE
    assert sum(len(record.getMessage()) for record in caplog.records) < 1000 * OF_ONE
    kept = refusals._told
    assert len(kept) <= MOST and sum(sys.getsizeof(text) for key in kept for text in key) < 1 << 20
