"""Many clients at once learn as each would alone, with torch's own optimiser."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import expit
from torch.func import functional_call

from client_app.crowd_holding import CrowdHolding
from client_app.crowd_memory import PrivateState
from client_app.crowd_training import BETAS, CrowdModel, measure, train
from common.click_counts import STEPS
from common.click_metrics import click_metrics
from common.config import from_flat
from common.crowd_messages import CrowdTask
from common.data.split import Part
from common.errors import MessageError
from common.recommenders.click import click_loss
from common.recommenders.click_base import item_codes, user_codes
from common.recommenders.click_build import click_run
from common.scopes import Scope
from server_app.crowd_state import CrowdState
from tests.crowd import crowd_settings


@pytest.fixture
def crowd(fellrec_home: Path) -> tuple:
    config = from_flat(crowd_settings(fellrec_home, fedpa__pull=2.0, train__local_epochs=3))
    click = click_run(config)
    holding = CrowdHolding.load(config, {"partition-id": 0, "num-partitions": 1}, click.base)
    state = CrowdState(click, config.fedpa)
    torch.manual_seed(0)
    for table in (*state.tables.values(), *state.shared.values()):
        table += 0.3 * torch.randn(table.shape)
    codes = holding.codes(list(click.groups)).tolist()
    task = CrowdTask("app", "run", 1, holding.names, *state.for_clients(codes))
    model = CrowdModel(click, holding, task, PrivateState.begin(click.start(Scope.PRIVATE), len(holding.names)))
    return config, model


def alone(config, model: CrowdModel, client: int) -> tuple[dict, dict, float]:
    """One client's private tensors, upload and first loss, by torch's Adam on its own rows."""
    click, holding = model.click, model.holding
    start = click.start(Scope.PRIVATE)
    private = {name: tensor.clone().requires_grad_() for name, tensor in start.items()}
    lent = {n: t[0].requires_grad_() for n, t in model.state(torch.tensor([client])).items() if n not in private}
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
    learned = train(model, config)
    for client in (0, 5, len(model.holding.names) - 1):
        model_before = CrowdModel(
            model.click, model.holding, model.task,
            PrivateState.begin(model.click.start(Scope.PRIVATE), len(model.holding.names)),
        )  # fmt: skip
        private, upload, loss = alone(config, model_before, client)
        assert learned.losses[client].item() == pytest.approx(loss, rel=1e-5)
        assert learned.upload.keys() == upload.keys()
        for name, tensor in upload.items():
            torch.testing.assert_close(learned.upload[name][client], tensor, rtol=1e-4, atol=1e-6)
        for name, tensor in private.items():
            torch.testing.assert_close(model.private.values[name][client], tensor, rtol=1e-3, atol=1e-5)
    assert model.private.steps.tolist() == [3] * len(model.holding.names)


def test_what_is_measured_is_what_each_clients_model_says(crowd) -> None:
    config, model = crowd
    train(model, config)
    scores = measure(model, Part.TEST)
    holding, click = model.holding, model.click
    clicks, logits, owners = [], [], []
    for client in range(len(holding.names)):
        state = {name: tensor[0] for name, tensor in model.state(torch.tensor([client])).items()}
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
    own = [auc for auc in scores.clients["auc"] if auc >= 0]
    assert len(own) == expected["judged_users"] and np.mean(own) == pytest.approx(rounded["user_auc"])


def test_a_table_without_a_clients_value_is_refused(crowd) -> None:
    _, model = crowd
    task = CrowdTask(
        "app", "run", 1, model.task.clients, model.task.shared, model.task.tables, {"age": (1,), "city": ()}
    )
    with pytest.raises(MessageError, match="lacks the value"):
        CrowdModel(model.click, model.holding, task, model.private)
