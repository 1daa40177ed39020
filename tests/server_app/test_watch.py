"""server_app/watch.py: what an operator is warned of, and what not."""

from __future__ import annotations

from dataclasses import replace

import torch

from server_app.members import Contribution
from server_app.watch import Watch

Named = tuple[str, Contribution]


def report(client: str, loss: float = 1.0, scale: float = 1.0, **seconds: float) -> Named:
    return client, Contribution(
        {"a": scale * torch.ones(4)}, loss, 8, 1, seconds={"train": 10.0} | seconds, memory={"peak": 1, "limit": 4}
    )


def kinds(watch: Watch, *reports: Named, elapsed: dict[str, float] | None = None, alone: bool = True) -> list:
    by_name = dict(reports)
    found = watch.look(by_name, elapsed or {}, dict.fromkeys(by_name, alone))
    return [(warning.client, warning.kind) for warning in found]


def test_a_quiet_round_warns_of_nothing() -> None:
    assert kinds(Watch(), report("a"), report("b"), elapsed={"a": 11.0, "b": 12.0}) == []


def test_a_loss_that_rises_twice_is_divergence_once_it_has() -> None:
    watch = Watch()
    assert [kinds(watch, report("a", loss), report("b")) for loss in (1.0, 1.2, 1.3)] == [[], [], [("a", "diverging")]]
    assert kinds(watch, report("a", 0.9), report("b")) == []


def test_a_single_worse_round_is_none() -> None:
    watch = Watch()
    assert all(kinds(watch, report("a", loss)) == [] for loss in (1.0, 1.2, 1.0, 1.2, 1.0))


def test_an_adapter_far_from_the_others() -> None:
    assert kinds(Watch(), report("a", scale=50), report("b"), report("c")) == [("a", "diverging")]


def test_a_client_near_its_memory_limit() -> None:
    full = "a", replace(report("a")[1], memory={"peak": 3.9, "limit": 4.0})
    assert kinds(Watch(), full, report("b")) == [("a", "memory")]


def test_a_slow_link_is_told_from_a_slow_machine() -> None:
    elapsed = {"a": 200.0, "b": 12.0, "c": 12.0}
    assert kinds(Watch(), report("a"), report("b"), report("c"), elapsed=elapsed) == [("a", "link")]
    assert kinds(Watch(), report("a", train=190.0), report("b"), report("c"), elapsed=elapsed) == [("a", "slow")]
    waiting = report("a", train=190.0, split=180.0)
    assert kinds(Watch(), waiting, report("b"), report("c"), elapsed=elapsed) == [("a", "link")]


def test_clients_that_share_a_node_wait_for_each_other_and_are_not_judged() -> None:
    elapsed = {"a": 200.0, "b": 12.0, "c": 12.0}
    assert kinds(Watch(), report("a"), report("b"), report("c"), elapsed=elapsed, alone=False) == []
