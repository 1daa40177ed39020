"""Local steps of many clients at once: each steps its private tensors, and takes the gradient of what it shares.

A local step reads all training rows of a client. Its private tensors move by Adam, pulled to where they began; the
gradients of group and shared tensors, taken where the round begins, are what it uploads. Gradients of one point average
exactly, A and B of a low-rank path alike: there is nothing to mix in product space.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from client_app.crowd_holding import Batch, CrowdHolding
from client_app.crowd_memory import PrivateState
from common.adapters.many import State, pick, repeat, run
from common.click_counts import ClickCounts, count
from common.config import RunConfig
from common.crowd_messages import CLIENT_METRICS, CrowdScores, CrowdTask
from common.data.split import Part
from common.errors import MessageError, ModelError
from common.owners import Owner, owner_of
from common.recommenders.click import click_loss
from common.recommenders.click_build import ClickRun

BETAS, EPSILON = (0.9, 0.999), 1e-8


class CrowdModel:
    """The clients' models: the run's, with each client's private tensors and its groups' rows in place."""

    def __init__(self, click: ClickRun, holding: CrowdHolding, task: CrowdTask, private: PrivateState) -> None:
        self.click, self.holding, self.task, self.private = click, holding, task, private
        self._rows: dict[str, Tensor] = {}
        codes = dict(zip(click.groups, holding.codes(list(click.groups)).T.contiguous(), strict=True))
        for name, table in task.tables.items():
            attribute = click.group_of(name) or ""
            known = torch.tensor(task.codes.get(attribute, ()), dtype=torch.int64)
            if len(known) != len(table) or attribute not in codes or not torch.isin(codes[attribute], known).all():
                raise MessageError(f"task's table {name!r} lacks the value of a client", "server and node must agree")
            order = torch.argsort(known)
            self._rows[name] = order[torch.searchsorted(known[order], codes[attribute])]

    @property
    def uploaded(self) -> list[str]:
        """The names of what a client takes gradients of for the server."""
        return [*self.task.shared, *self.task.tables]

    def state(self, clients: Tensor) -> State:
        """All trained tensors of these clients, stacked."""
        tables = {name: table[self._rows[name][clients]] for name, table in self.task.tables.items()}
        return pick(self.private.values, clients) | repeat(self.task.shared, len(clients)) | tables

    def logits(self, batch: Batch, state: State) -> Tensor:
        """[C, n]"""
        return run(self.click.model, state, batch.users, batch.items)

    def batches(self, part: Part) -> Iterator[Batch]:
        """The clients' rows of a part."""
        return self.holding.batches(part, self.click.base.item_ids)


@dataclass(frozen=True, eq=False)
class Learned:
    """Of every client: its upload [clients, ...] by name; the mean loss of its training rows before the first step [clients]."""

    upload: State
    losses: Tensor


def train(model: CrowdModel, config: RunConfig) -> Learned:
    """``train.local-epochs`` local steps of every client; the private tensors move in place.

    Raises
    ------
    ModelError : nobody's loss is finite.
    """
    clients = len(model.holding.names)
    start = {**model.task.shared, **{name: table[0] for name, table in model.task.tables.items()}}
    upload = {name: torch.zeros(clients, *start[name].shape) for name in model.uploaded}
    losses = torch.zeros(clients)
    for batch in model.batches(Part.TRAIN):
        for step in range(config.train.local_epochs):
            state = {name: tensor.requires_grad_() for name, tensor in model.state(batch.clients).items()}
            each = click_loss(model.logits(batch, state), batch.clicks, batch.mask)
            found = dict(zip(state, torch.autograd.grad(each.sum(), list(state.values())), strict=True))
            if step == 0:
                losses[batch.clients] = each.detach()
            for name in model.uploaded:
                upload[name][batch.clients] += found[name] / config.train.local_epochs
            _step(model, batch, found, config)
    if not torch.isfinite(losses).any():
        raise ModelError("no client's loss is finite", "lower 'fedpa.private-learning-rate'")
    return Learned(upload, losses)


def _step(model: CrowdModel, batch: Batch, gradients: Mapping[str, Tensor], config: RunConfig) -> None:
    """One step of Adam on the private tensors of a batch's clients."""
    private, own, rows = model.private, batch.clients, batch.mask.sum(dim=1)
    private.steps[own] += 1
    start = model.click.model.state_dict()
    for name, values in private.values.items():
        form = (-1, *[1] * (values.ndim - 1))
        gradient = gradients[name] + (config.fedpa.pull / rows).view(form) * (values[own] - start[name])
        first = BETAS[0] * private.first[name][own] + (1 - BETAS[0]) * gradient
        second = BETAS[1] * private.second[name][own] + (1 - BETAS[1]) * gradient.square()
        steps = private.steps[own].view(form)
        moved = (first / (1 - BETAS[0] ** steps)) / ((second / (1 - BETAS[1] ** steps)).sqrt() + EPSILON)
        private.first[name][own], private.second[name][own] = first, second
        client = owner_of(name) is Owner.CLIENT
        rate = config.fedpa.private_learning_rate if client else config.fedpa.group_learning_rate
        values[own] -= rate * moved


@torch.no_grad()
def measure(model: CrowdModel, part: Part, warm: bool = False) -> CrowdScores:
    """How well each client's model tells the clicks of a part, or with ``warm`` the warm start as it came.

    Raises DataError where logits are not finite.
    """
    sizes = list(model.click.groups.values())
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    codes = model.holding.codes(list(model.click.groups)).numpy() + offsets[:-1]
    total = count([], [], [], int(offsets[-1]))
    own: list[dict[str, float | int | None]] = [{} for _ in model.holding.names]
    for batch in model.batches(part):
        if warm:
            logits = model.click.base.model(batch.users, batch.items).numpy()
        else:
            logits = model.logits(batch, model.state(batch.clients)).numpy()
        clicks, mask = batch.clicks.numpy(), batch.mask.numpy()
        for place, client in enumerate(batch.clients.tolist()):
            one = count(
                clicks[place][mask[place]], logits[place][mask[place]], np.zeros(int(mask[place].sum()), int), 1
            )
            own[client] = one.of(0) or {}
            for group in codes[client]:
                total.rows[group] += one.rows[0]
                total.loss[group] += one.loss[0]
    return CrowdScores(ClickCounts(total.rows, total.loss), {name: _column(own, name) for name in CLIENT_METRICS})


def _column(own: Sequence[Mapping[str, float | int | None]], name: str) -> list[float]:
    """One metric of every client; -1 for an AUC that does not exist, 0 for what a client without rows lacks."""
    missing = -1.0 if name == "auc" else 0.0
    return [missing if metrics.get(name) is None else float(metrics[name]) for metrics in own]
