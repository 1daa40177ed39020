"""client_app/outbox.py: fails closed."""

from __future__ import annotations

import pytest
import torch

from client_app.outbox import Outbox
from common.errors import OutboxError
from common.scopes import ADAPTER_SCOPE, Scope

RECEIVED = {"lora_A": torch.ones(2, 3), "lora_B": torch.zeros(4, 2)}


@pytest.mark.parametrize("strategy", sorted(ADAPTER_SCOPE))
def test_what_the_server_sent_may_go_back(strategy: str) -> None:
    trained = {name: tensor + 1 for name, tensor in RECEIVED.items()}
    sent = Outbox(strategy, RECEIVED).adapter(trained)
    assert all(torch.equal(sent[name], trained[name]) and not sent[name].requires_grad for name in RECEIVED)


@pytest.mark.parametrize(
    "trained",
    [
        {**RECEIVED, "item_matrix": torch.ones(3, 3)},
        {"lora_A": RECEIVED["lora_A"]},
        {**RECEIVED, "lora_A": torch.ones(3, 3)},
        {**RECEIVED, "lora_A": torch.full((2, 3), float("nan"))},
    ],
)
def test_anything_else_stops_the_message(trained: dict) -> None:
    with pytest.raises(OutboxError):
        Outbox("fellrec", RECEIVED).adapter(trained)


def test_a_scope_that_may_not_leave_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    for scope in (Scope.PRIVATE, Scope.FROZEN):
        monkeypatch.setitem(ADAPTER_SCOPE, "fellrec", scope)
        with pytest.raises(OutboxError, match=scope.value):
            Outbox("fellrec", RECEIVED).adapter(RECEIVED)
