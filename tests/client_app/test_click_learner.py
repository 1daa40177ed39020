"""Many clients at once learn as each would alone, with torch's own optimiser."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import expit
from torch.func import functional_call

from client_app.click_holding import ClickHolding
from client_app.click_learner import BETAS, ClickLearner
from client_app.memory import Memory
from common.config import from_flat
from common.data.split import Part
from common.errors import MessageError
from common.evaluation.click_counts import STEPS
from common.evaluation.clicks import click_metrics
from common.messages import ClientFacts, SetFacts, Task
from common.recommenders.click.model import click_loss
from common.recommenders.click.run import click_run
from common.recommenders.click.warm_start import item_codes, user_codes
from common.recommenders.federated import federated_model
from common.scopes import Scope
from server_app.members import Member
from server_app.state import ServerState
from server_app.strategies import plan
from tests.clicks import click_settings

SET = SetFacts("toy", "c" * 64, 9, True, "by time")


def learner(home: Path, **overrides: object) -> tuple:
    config = from_flat(click_settings(home, **{"fedpa__pull": 2.0, "train__local_epochs": 3, **overrides}))
    click = click_run(config)
    holding = ClickHolding.load(config, {"partition-id": 0, "num-partitions": 1}, click.base)
    model = federated_model(config)
    state = ServerState(model, plan(config, model), 1)
    torch.manual_seed(0)
    for table in (*state.tables.values(), *state.shared.values()):
        table += 0.3 * torch.randn(table.shape)
    codes = holding.codes(list(click.groups)).tolist()
    members = [
        Member(ClientFacts(name, SET, "d", 1, 9, 5, groups=tuple(row)), 1)
        for name, row in zip(holding.names, codes, strict=True)
    ]
    n, personal = len(members), model.of(Scope.PERSONAL)
    task = Task(
        "app",
        "run",
        1,
        holding.names,
        state.shared,
        *state.rows_for(members),
        {name: tensor.expand(n, *tensor.shape).clone() for name, tensor in personal.items()},
        paces=tuple(1.0 + 0.1 * place for place in range(n)) if personal else (1.0,) * n,
        contributed=(0,) * n,
    )
    memories = [Memory(home / "kept" / name) for name in holding.names]
    return config, ClickLearner(click, holding, task, memories, config)


@pytest.fixture
def crowd(fellrec_home: Path) -> tuple:
    return learner(fellrec_home)


def alone(config, model: ClickLearner, client: int) -> tuple[dict, dict, float]:
    """One client's private tensors, upload and first loss, by torch's Adam on its own rows."""
    click, holding = model.click, model.holding
    start = click.start(Scope.PRIVATE)
    private = {name: tensor.clone().requires_grad_() for name, tensor in start.items()}
    lent = {n: t[0].requires_grad_() for n, t in model.tensors(torch.tensor([client])).items() if n not in private}
    rows = np.flatnonzero((holding.log.users == client) & (holding.log.parts == Part.TRAIN))
    users = user_codes(holding.log)[client].expand(len(rows), -1)
    items = item_codes(holding.log, click.base.item_ids)[holding.log.items[rows]]
    clicks = torch.from_numpy(holding.log.clicks[rows].astype(np.float32))
    optimiser = torch.optim.Adam(private.values(), lr=config.fedpa.private_learning_rate, betas=BETAS)
    upload, first = {name: torch.zeros_like(tensor) for name, tensor in lent.items()}, 0.0
    for step in range(3):
        optimiser.zero_grad()
        loss = click_loss(functional_call(click.model, private | lent, (users, items)), clicks)
        pull = sum((private[name] - start[name]).square().sum() for name in start)
        gradients = torch.autograd.grad(loss, list(lent.values()), retain_graph=True)
        (loss + config.fedpa.pull / len(rows) / 2 * pull).backward()
        optimiser.step()
        first = loss.item() if step == 0 else first
        for name, gradient in zip(lent, gradients, strict=True):
            upload[name] += gradient / 3
    return {name: tensor.detach() for name, tensor in private.items()}, upload, first


def test_many_clients_learn_as_each_would_alone(crowd) -> None:
    config, model = crowd
    before = ClickLearner(model.click, model.holding, model.task, model.memories, config)
    learned = model.train()
    for client in (0, 5, len(model.holding.names) - 1):
        private, upload, loss = alone(config, before, client)
        assert learned.losses[client] == pytest.approx(loss, rel=1e-5)
        assert learned.contribution.keys() == upload.keys()
        for name, tensor in upload.items():
            torch.testing.assert_close(learned.contribution[name][client], tensor, rtol=1e-4, atol=1e-6)
        for name, tensor in private.items():
            torch.testing.assert_close(model.state.values[name][client], tensor, rtol=1e-3, atol=1e-5)
    assert model.state.steps.tolist() == [3] * len(model.holding.names)


def test_what_is_measured_is_what_each_clients_model_says(crowd) -> None:
    config, model = crowd
    model.train()
    scores = model.measure(Part.TEST)
    holding, click = model.holding, model.click
    clicks, logits, owners = [], [], []
    for client in range(len(holding.names)):
        state = {name: tensor[0] for name, tensor in model.tensors(torch.tensor([client])).items()}
        rows = np.flatnonzero((holding.log.users == client) & (holding.log.parts == Part.TEST))
        users = user_codes(holding.log)[client].expand(len(rows), -1)
        items = item_codes(holding.log, click.base.item_ids)[holding.log.items[rows]]
        with torch.no_grad():
            logits += functional_call(click.model, state, (users, items)).tolist()
        clicks += holding.log.clicks[rows].tolist()
        owners += [client] * len(rows)
    steps = np.floor(expit(np.array(logits)) * STEPS) - STEPS // 2
    rounded, expected = click_metrics(clicks, steps, owners), click_metrics(clicks, logits, owners)
    first = next(iter(click.groups.values()))
    found = scores.counts.of(slice(0, first))
    assert found["auc"] == pytest.approx(rounded["auc"])
    for name in ("logloss", "precision", "recall", "f1"):
        assert found[name] == pytest.approx(expected[name], rel=1e-5), name
    own = [auc for auc in scores.columns["auc"] if auc >= 0]
    assert len(own) == expected["judged_users"] and np.mean(own) == pytest.approx(rounded["user_auc"])


def test_a_table_without_a_clients_value_is_refused(crowd) -> None:
    _, model = crowd
    task = replace(model.task, codes={"age": (1,), "city": ()})
    with pytest.raises(MessageError, match="lacks the value"):
        ClickLearner(model.click, model.holding, task, model.memories, model._config)


def test_under_fellrec_each_client_trains_its_own_mix_at_its_own_pace(fellrec_home: Path) -> None:
    """Gates and output layer move by Adam like private tensors, times the pace; they are sent as they are, not as gradients."""
    config, model = learner(fellrec_home, strategy__name="fellrec", fedpa__pull=0.0)
    personal = set(model.task.personal)
    assert personal and all(model.scopes[name] is Scope.PERSONAL for name in personal)
    one, other = (name for name in ("output.weight", "output.bias"))
    start = {name: tensor.clone() for name, tensor in model.task.personal.items()}
    learned = model.train()
    assert personal <= learned.contribution.keys() and not any("user" in name for name in learned.contribution)
    for name in (one, other):
        moved = learned.contribution[name] - start[name]
        assert moved.abs().flatten(1).sum(1).gt(0).all()
        torch.testing.assert_close(learned.start[name], start[name])
    # Adam's first steps have the length of the rate, whatever the gradient: what a client moves by is its pace
    steps = (learned.contribution["output.bias"] - start["output.bias"]).abs().flatten()
    bound = 3 * config.fedpa.group_learning_rate * torch.tensor(model.task.paces)
    assert (steps <= bound + 1e-6).all() and steps[-1] > steps[0] * 1.2


def test_an_own_share_is_taken_where_validation_rows_bear_it_out(
    fellrec_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("common.own_share.FEWEST_USERS", 3)
    _, model = learner(fellrec_home, strategy__name="fellrec")
    model.train()
    trained = {name: model.state.values[name].clone() for name in model.task.personal}
    spoilt = {name: torch.randn_like(tensor) * 5 for name, tensor in trained.items()}
    taken = {}
    for label, mixed, own in (("better", spoilt, trained), ("worse", trained, spoilt)):
        task = replace(model.task, personal=mixed, own=own)
        again = ClickLearner(model.click, model.holding, task, model.memories, model._config)
        shares = again.validate().shares
        taken[label] = sum(share > 0 for share in shares)
        for place, share in enumerate(shares):
            wanted = torch.lerp(mixed["output.weight"][place], own["output.weight"][place], share)
            torch.testing.assert_close(again.state.values["output.weight"][place], wanted)
    assert taken["better"] > taken["worse"]
