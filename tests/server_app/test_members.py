"""server_app/members.py: clients are known by their own name, wherever they live."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from common.errors import MessageError, RunError
from common.events import EventLog, read_lines
from common.messages import ClientFacts, Roster, SetFacts
from common.version import app_identity
from server_app.members import Members

SET = SetFacts("shop", "c" * 64, 4, True, "leave-last-out")
FACTS = ClientFacts("shop-a", SET, "d" * 64, 3, 5, 2)


@pytest.fixture
def log(tmp_path: Path) -> EventLog:
    return EventLog(tmp_path / "log")


def members(log: EventLog, people: bool = False) -> Members:
    return Members(lambda facts: None, lambda: {"x": torch.ones(2)}, log, people)


def roster(*clients: ClientFacts, simulated: bool = False):
    return Roster(app_identity(), simulated, clients).to_record()


def test_a_client_keeps_what_is_known_of_it_when_it_comes_back_on_another_node(log: EventLog, tmp_path: Path) -> None:
    known = members(log)
    known.admit(7, roster(FACTS))
    known["shop-a"].heat = 0.9
    known.depart(set())
    assert not known.present() and known.here() == 0
    known.admit(8, roster(FACTS))
    assert known["shop-a"].node == 8 and known["shop-a"].heat == 0.9
    assert [line["event"] for line in read_lines(tmp_path / "log")] == ["joined", "away", "joined"]
    assert [line.get("back") for line in read_lines(tmp_path / "log")] == [[], None, ["shop-a"]]


def test_two_nodes_cannot_be_one_client(log: EventLog) -> None:
    known = members(log)
    known.admit(7, roster(FACTS))
    with pytest.raises(RunError, match="7 and 8 both claim client 'shop-a'"):
        known.admit(8, roster(FACTS))


@pytest.mark.parametrize("change", [{"digest": "e" * 64}, {"groups": (1,)}])
def test_a_client_with_other_data_or_groups_is_not_the_same(log: EventLog, change: dict) -> None:
    known = members(log)
    known.admit(7, roster(FACTS))
    with pytest.raises(RunError, match="other data"):
        known.admit(7, roster(replace(FACTS, **change)))


def test_members_come_in_the_order_of_their_names(log: EventLog) -> None:
    known = members(log)
    for name in ("b", "a", "c"):
        known.admit(ord(name), roster(replace(FACTS, client=name)))
    assert [name for name, _ in known] == ["a", "b", "c"] == list(known.present())
    assert len(known) == 3 and "b" in known and not known.simulated


def test_a_real_node_hosts_several_only_where_clients_are_people(log: EventLog) -> None:
    several = roster(FACTS, replace(FACTS, client="shop-b"))
    with pytest.raises(MessageError, match="names 2 clients"):
        members(log).admit(7, several)
    people = members(log, people=True)
    people.admit(7, several)
    assert len(people) == 2


def test_a_client_that_does_not_fit_is_refused_and_its_node_with_it(log: EventLog) -> None:
    def refuse(facts: ClientFacts) -> None:
        raise MessageError(f"client {facts.client!r} has another catalogue")

    known = Members(refuse, dict, log)
    with pytest.raises(MessageError, match="another catalogue"):
        known.admit(7, roster(FACTS))
    assert not len(known)
