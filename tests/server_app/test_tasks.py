"""server_app/tasks.py: who gets which message."""

from __future__ import annotations

import pytest
import torch

from common.config import RunConfig
from common.errors import RunError
from common.messages import ClientFacts, Rankings, SetFacts
from common.recommenders.federated import FederatedModel
from common.scopes import Scope
from server_app.members import Member
from server_app.state import ServerState
from server_app.strategies import plan
from server_app.tasks import Tasks

SET = SetFacts("shop", "c" * 64, 4, True, "leave-last-out")
MODEL = FederatedModel({"x": torch.ones(2)}, {"x": Scope.PERSONAL}, {}, Rankings, ())


def member(client: str, node: int | None) -> Member:
    return Member(ClientFacts(client, SET, "d" * 64, 3, 5, 2), node, MODEL.of(Scope.PERSONAL))


def tasks() -> Tasks:
    config = RunConfig()
    return Tasks(config, "run", ServerState(MODEL, plan(config, MODEL), average_rounds=1))


def test_every_client_has_a_message_to_its_own_node() -> None:
    sent = tasks().train(1, {"ann": member("ann", 7), "bob": member("bob", 8)}, {"ann": 1.0, "bob": 1.0}, 60.0)
    assert [(one.clients, one.message.metadata.dst_node_id) for one in sent] == [(("ann",), 7), (("bob",), 8)]


def test_nobody_writes_to_a_client_that_is_away() -> None:
    with pytest.raises(RunError, match="client 'ann' is away"):
        tasks().train(1, {"ann": member("ann", None)}, {"ann": 1.0}, 60.0)
