"""server_app/split/refusals.py: each refusal is told once, with what to do."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
import torch

from client_app.link import SplitLink
from common.cut import Cut
from common.pb import split_pb2 as pb
from common.wire import Refused
from server_app.split.host import SplitHost
from server_app.split.refusals import QUIET, Refusals
from tests.server_app.split.raw import Raw, ask, hello, hidden
from tests.server_app.split.tiny import link_settings

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


def test_a_token_that_is_used_again_after_its_round_does_nothing_and_is_told_once(
    make_host: Callable[..., SplitHost], caplog: pytest.LogCaptureFixture
) -> None:
    host = make_host()
    address = host.start()
    host.begin("ann", 1, 0.1, adapter_seed=1)
    token = host.mint("ann", 60)
    with SplitLink(address, token, link_settings("bert", Cut(1, 1))) as link:
        _, sent = link.forward(hidden())
        link.backward(sent, hidden())
        link.step()
    host.commit("ann", 1)
    trained = host.adapter("ann")
    replay = [hello(), *ask(pb.OP_FORWARD, [hidden()])]
    with caplog.at_level(logging.INFO, "fellrec.split"):
        assert Raw(address, token, replay).outcome() == "UNAUTHENTICATED"
        # nor does a later round of the same client take it
        host.begin("ann", 2, 0.1, adapter_seed=1)
        assert {Raw(address, token, replay).outcome() for _ in range(3)} == {"UNAUTHENTICATED"}
        host.rollback("ann")
    (record,) = [record for record in caplog.records if "refused" in record.getMessage()]
    assert record.levelno == logging.WARNING and "127.0.0.1" in record.getMessage()
    assert "its round is over" in record.getMessage() and "its task is over" in record.getMessage()
    assert host.held_bytes == 0
    assert all(torch.equal(tensor, trained[name]) for name, tensor in host.adapter("ann").items())
