"""server_app/clients.py: clients are known by their own name, wherever they live."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from common.errors import RunError
from common.messages import ClientFacts
from server_app.clients import Clients

FACTS = ClientFacts("shop-a", "shop", "c" * 64, "d" * 64, 3, 4, 5, 2, True, "leave-last-out")
ADAPTER = {"x": torch.ones(2)}


def test_a_client_keeps_what_is_known_of_it_when_it_comes_back_on_another_node() -> None:
    clients = Clients()
    assert clients.welcome(FACTS, 7, ADAPTER)
    clients["shop-a"].heat = 0.9
    assert clients.away({7}) == ["shop-a"] and not clients.present() and clients.nodes() == set()
    assert not clients.welcome(FACTS, 8, {"x": torch.zeros(2)})
    member = clients["shop-a"]
    assert member.node == 8 and member.heat == 0.9 and torch.equal(member.mixed["x"], torch.ones(2))


def test_two_nodes_cannot_be_one_client() -> None:
    clients = Clients()
    clients.welcome(FACTS, 7, ADAPTER)
    with pytest.raises(RunError, match="7 and 8 both claim client 'shop-a'"):
        clients.welcome(FACTS, 8, ADAPTER)


def test_a_client_with_other_data_is_not_the_same() -> None:
    clients = Clients()
    clients.welcome(FACTS, 7, ADAPTER)
    with pytest.raises(RunError, match="other data"):
        clients.welcome(replace(FACTS, digest="e" * 64), 7, ADAPTER)


def test_members_come_in_the_order_of_their_names() -> None:
    clients = Clients()
    for name in ("b", "a", "c"):
        clients.welcome(replace(FACTS, client=name), ord(name), ADAPTER)
    assert [name for name, _ in clients] == ["a", "b", "c"] == list(clients.present())
    assert len(clients) == 3 and "b" in clients
