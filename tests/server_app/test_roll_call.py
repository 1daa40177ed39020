"""server_app/roll_call.py: who is here, and who is not listened to."""

from __future__ import annotations

from pathlib import Path
from threading import Timer

import pytest
import torch
from flwr.app import ConfigRecord, Message, RecordDict

from common.config import FederationConfig
from common.errors import RunError
from common.events import EventLog, read_lines
from server_app.members import Members
from server_app.roll_call import RollCall
from server_app.transport import FlowerTransport
from tests.federation import InProcessGrid, broken, tiny_settings

ADAPTER = {"x": torch.ones(2)}


def call(home: Path, nodes: int = 2, fault=None) -> tuple[RollCall, Members, InProcessGrid, Path]:
    grid, log = InProcessGrid(tiny_settings(home), nodes), home / "log"
    if fault:
        answer = grid._answer
        grid._answer = lambda message: (
            fault(answer(message)) if message.metadata.dst_node_id == 101 else answer(message)
        )
    members = Members(lambda facts: None, lambda: ADAPTER, EventLog(log))
    config = FederationConfig(nodes_timeout=0.2)
    return RollCall(FlowerTransport(grid), members, config, EventLog(log)), members, grid, log


def nonsense(reply: Message) -> Message:
    reply.content["config"] = ConfigRecord({"app": "x", "clients": ["no json"]})
    return reply


def test_everybody_is_taken_in_once(fellrec_home: Path) -> None:
    roll, clients, grid, _ = call(fellrec_home)
    roll.first()
    asked = len(grid.sent)
    roll.again()
    assert [name for name, _ in clients] == ["toy-0", "toy-1", "toy-2"] and len(grid.sent) == asked == 2
    assert clients.simulated


def test_a_node_that_leaves_takes_its_clients_along_and_brings_them_back(fellrec_home: Path) -> None:
    roll, clients, grid, log = call(fellrec_home)
    roll.first()
    grid.present.remove(101)
    roll.again()
    assert list(clients.present()) == ["toy-1"]
    grid.present.add(101)
    roll.again()
    assert len(clients.present()) == 3
    assert [event["event"] for event in read_lines(log)][-2:] == ["away", "joined"]
    assert list(read_lines(log))[-1]["back"] == ["toy-0", "toy-2"]


@pytest.mark.parametrize("fault", [broken, nonsense, lambda reply: None])
def test_a_node_that_answers_nonsense_is_named_and_the_others_go_on(
    fellrec_home: Path, fault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server_app.roll_call.ANSWER_WITHIN", 1.0)
    monkeypatch.setattr("server_app.roll_call.FIRST_ANSWER_WITHIN", 1.0)
    roll, clients, grid, log = call(fellrec_home, fault=fault)
    roll.first()
    roll.again()
    assert [name for name, _ in clients] == ["toy-1"]
    assert sum(message.metadata.dst_node_id == 102 for message in grid.sent) == 1, "who answered is not asked again"
    (refused,) = [event for event in read_lines(log) if event["event"] == "refused"]
    assert refused["node"] == "101"


def test_a_client_app_of_another_version_is_refused(fellrec_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server_app.roll_call.app_identity", lambda: "0.0.0+other")
    roll, _, _, log = call(fellrec_home)
    with pytest.raises(RunError, match=r"no node hosts a client.*2 answers were refused, such as: .*0\.0\.0\+other"):
        roll.first()
    assert all("0.0.0+other" in event["reason"] for event in read_lines(log) if event["event"] == "refused")


def test_a_node_that_failed_once_is_asked_again(fellrec_home: Path) -> None:
    passing = [broken]
    roll, clients, _, _ = call(fellrec_home, fault=lambda reply: passing.pop()(reply) if passing else reply)
    roll.first()
    assert list(clients.present()) == ["toy-1"]
    roll.again()
    assert len(clients.present()) == 3


def test_a_client_that_comes_back_beside_its_dead_self_is_taken_in_once_that_is_gone(fellrec_home: Path) -> None:
    roll, clients, grid, log = call(fellrec_home, nodes=1)
    roll.first()
    grid.aliases[777] = 101
    grid.present.add(777)
    roll.again()
    assert clients["toy-0"].node == 101
    grid.present.remove(101)
    roll.again()
    assert clients["toy-0"].node == 777 and len(clients.present()) == 3


def test_the_first_round_waits_for_as_many_clients_as_it_is_told(fellrec_home: Path) -> None:
    roll, clients, grid, _ = call(fellrec_home)
    roll._config = FederationConfig(nodes_timeout=30.0, min_clients=3)
    grid.present.remove(102)
    Timer(0.7, grid.present.add, [102]).start()
    roll.first()
    assert len(clients.present()) == 3


def test_without_nodes_the_run_says_what_to_do(fellrec_home: Path) -> None:
    roll, _, grid, _ = call(fellrec_home)
    grid.present = set()
    with pytest.raises(RunError, match="start SuperNodes"):
        roll.first()


def test_the_record_of_a_greeting_holds_the_version_alone() -> None:
    from common.messages import Hello

    assert isinstance(Hello("v").to_record(), RecordDict) and dict(Hello("v").to_record()["config"]) == {"app": "v"}
