"""server_app/split/refusals.py: each refusal is told once, with what to do."""

from __future__ import annotations

import logging

import pytest

from common.wire import Refused
from server_app.split.refusals import QUIET, Refusals

FOREIGN = Refused("the token is not of this service", "", "UNAUTHENTICATED")


def test_the_same_machine_is_told_once_and_then_counted(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    refusals = Refusals(lambda: now[0])
    with caplog.at_level(logging.INFO, "fellrec.split"):
        for port in range(5):
            refusals.note(f"ipv4:10.0.0.7:{port}", FOREIGN)
        refusals.note("ipv4:10.0.0.8:1", FOREIGN)
        now[0] = QUIET + 1
        refusals.note("ipv4:10.0.0.7:9", FOREIGN)
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 3 and "10.0.0.7" in told[0] and "10.0.0.8" in told[1]
    assert told[2].endswith("4 more since it was last told") and "no node of this run" in told[0]
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


def test_a_service_that_is_full_is_no_alarm(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "fellrec.split"):
        Refusals().note("ipv4:10.0.0.7:1", Refused("too many sessions", "close one", "RESOURCE_EXHAUSTED"))
    (record,) = caplog.records
    assert record.levelno == logging.INFO and "close one" in record.getMessage()
