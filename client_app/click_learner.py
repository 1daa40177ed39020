"""Small click models learn, those of many clients at once: each steps what it keeps, and takes the gradient of what it shares.

A local step reads all training rows of a client. Its own tensors (private ones, and under FELLRec its personal mix) move
by Adam, pulled to where the run began; the gradients of group and shared tensors, taken where the round begins, are what
it contributes. Gradients of one point average exactly, A and B of a low-rank path alike: there is nothing to mix in
product space.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from client_app.click_holding import Batch, ClickHolding
from client_app.click_state import ClickState
from client_app.learned import Learned, Measured
from client_app.memory import Memory
from client_app.node import memory_folder
from common.adapters.many import State, pick, repeat, run
from common.config import RunConfig, Value
from common.data.split import Part
from common.errors import MessageError, ModelError
from common.evaluation.click_counts import ClickCounts, count
from common.messages import Clicks, ClientFacts, Task
from common.messages.report import TEST, VALIDATION
from common.own_share import SHARES, choose_share
from common.recommenders.click.model import click_loss
from common.recommenders.click.run import ClickRun, click_run
from common.scopes import Owner, Scope, group_of

BETAS, EPSILON = (0.9, 0.999), 1e-8


class ClickLearner:
    """The clients of one message; see :class:`client_app.learner.Learner`.

    Parameters
    ----------
    click : ClickRun
        Model of the run.
    holding : ClickHolding
        Rows of the clients, in the order of ``task.clients``.
    task : Task
        Message from the server.
    memories : Sequence[Memory]
        What each client keeps.
    config : RunConfig
        Configuration of the run.
    training : bool
        Whether the clients are to train, or only to measure: then private tensors are the mean over the last rounds.

    Raises
    ------
    MessageError : the task lacks the row of a client's group.
    DataError : a client's memory is damaged.
    """

    def __init__(
        self,
        click: ClickRun,
        holding: ClickHolding,
        task: Task,
        memories: Sequence[Memory],
        config: RunConfig,
        training: bool = True,
    ) -> None:
        self.click, self.holding, self.task, self.memories = click, holding, task, memories
        self.clients, self.scopes = holding.names, click.scopes
        self._config, self._owners = config, click.model.owners()
        before, rounds = (task.round, 1) if training else (task.round + 1, config.strategy.average_rounds)
        self.state = ClickState.load(click.start(Scope.PRIVATE, Scope.PERSONAL), memories, before, rounds)
        self.state.values.update({name: tensor.clone() for name, tensor in task.personal.items()})
        self._rows: dict[str, Tensor] = {}
        codes = dict(zip(click.groups, holding.codes(list(click.groups)).T.contiguous(), strict=True))
        for name, table in task.tables.items():
            attribute = group_of(name) or ""
            known = torch.tensor(task.codes.get(attribute, ()), dtype=torch.int64)
            if len(known) != len(table) or attribute not in codes or not torch.isin(codes[attribute], known).all():
                raise MessageError(f"task's table {name!r} lacks the value of a client", "server and node must agree")
            order = torch.argsort(known)
            self._rows[name] = order[torch.searchsorted(known[order], codes[attribute])]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        pass

    def validate(self) -> Measured:
        shares = self._step_towards_own()
        return Measured({VALIDATION: self.measure(Part.VALID)}, shares)

    def train(self) -> Learned:
        """``train.local-epochs`` local steps of every client; their own tensors move in place.

        Raises
        ------
        ModelError : nobody's loss is finite.
        """
        clients, epochs = len(self.clients), self._config.train.local_epochs
        lent = {**self.task.shared, **{name: table[0] for name, table in self.task.tables.items()}}
        gradients = {name: torch.zeros(clients, *tensor.shape) for name, tensor in lent.items()}
        begun = {name: self.state.values[name].clone() for name in self.task.personal}
        losses = torch.zeros(clients)
        for batch in self._batches(Part.TRAIN):
            for step in range(epochs):
                state = {name: tensor.requires_grad_() for name, tensor in self.tensors(batch.clients).items()}
                each = click_loss(self._logits(batch, state), batch.clicks, batch.mask)
                found = dict(zip(state, torch.autograd.grad(each.sum(), list(state.values())), strict=True))
                if step == 0:
                    losses[batch.clients] = each.detach()
                for name in lent:
                    gradients[name][batch.clients] += found[name] / epochs
                self._step(batch, found)
        if not torch.isfinite(losses).any():
            raise ModelError("no client's loss is finite", "lower 'fedpa.private-learning-rate'")
        self.state.save(self.memories, self.task.round, self._config.strategy.average_rounds)
        personal = {name: self.state.values[name] for name in self.task.personal}
        return Learned(
            contribution=gradients | personal,
            start={name: torch.zeros_like(tensor) for name, tensor in gradients.items()} | begun,
            losses=losses.tolist(),
            sizes=[float(rows) for rows in self.holding.rows(Part.TRAIN)],
        )

    def evaluate(self) -> Measured:
        shares = self._step_towards_own()
        parts = {VALIDATION: self.measure(Part.VALID), TEST: self.measure(Part.TEST)}
        return Measured(parts | {"warm_start": self.measure(Part.TEST, warm=True)}, shares)

    def tensors(self, clients: Tensor) -> State:
        """All trained tensors of these clients (positions), stacked."""
        tables = {name: table[self._rows[name][clients]] for name, table in self.task.tables.items()}
        return pick(self.state.values, clients) | repeat(self.task.shared, len(clients)) | tables

    @torch.no_grad()
    def measure(self, part: Part, warm: bool = False) -> Clicks:
        """How well each client's model foretells the clicks of a part, or with ``warm`` the warm start as it came.

        Raises
        ------
        DataError : logits are not finite.
        """
        sizes = list(self.click.groups.values())
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        codes = self.holding.codes(list(self.click.groups)).numpy() + offsets[:-1]
        total = count([], [], [], int(offsets[-1]))
        own: list[dict[str, float | int | None]] = [{} for _ in self.clients]
        for batch in self._batches(part):
            if warm:
                logits = self.click.base.model(batch.users, batch.items).numpy()
            else:
                logits = self._logits(batch, self.tensors(batch.clients)).numpy()
            clicks, mask = batch.clicks.numpy(), batch.mask.numpy()
            for place, client in enumerate(batch.clients.tolist()):
                one = count(
                    clicks[place][mask[place]], logits[place][mask[place]], np.zeros(int(mask[place].sum()), int), 1
                )
                own[client] = one.of(0) or {}
                for group in codes[client]:
                    total.rows[group] += one.rows[0]
                    total.loss[group] += one.loss[0]
        columns = {name: _column(own, name) for name in Clicks.RANGES}
        return Clicks(self.clients, columns, ClickCounts(total.rows, total.loss), tuple(sizes))

    def _step_towards_own(self) -> list[float]:
        """Moves each client from its mix towards what it sent last, where its validation rows bear it out."""
        if not self.task.own:
            return [0.0] * len(self.clients)
        mixed = dict(self.task.personal)
        found = {share: self._likelihoods(_between(mixed, self.task.own, share)) for share in (0.0, *SHARES)}
        margin = self._config.fellrec.own_margin
        shares = [
            choose_share({share: found[share][place] - found[0.0][place] for share in SHARES}, margin)
            for place in range(len(self.clients))
        ]
        chosen = torch.tensor(shares)
        for name, tensor in mixed.items():
            form = chosen.view(-1, *[1] * (tensor.ndim - 1)).to(tensor.dtype)
            self.state.values[name] = torch.lerp(tensor, self.task.own[name], form)
        return shares

    @torch.no_grad()
    def _likelihoods(self, personal: State) -> list[NDArray[np.float64]]:
        """The log-likelihood of every validation row of each client, under these personal tensors."""
        found: list[NDArray[np.float64]] = [np.empty(0)] * len(self.clients)
        for batch in self._batches(Part.VALID):
            state = self.tensors(batch.clients) | pick(personal, batch.clients)
            logits, clicks, mask = self._logits(batch, state).double().numpy(), batch.clicks.numpy(), batch.mask.numpy()
            for place, client in enumerate(batch.clients.tolist()):
                rows = mask[place]
                sign = np.where(clicks[place][rows] > 0, 1.0, -1.0)
                found[client] = -np.logaddexp(0.0, -sign * logits[place][rows])
        return found

    def _logits(self, batch: Batch, state: State) -> Tensor:
        """[C, n]"""
        return run(self.click.model, state, batch.users, batch.items)

    def _batches(self, part: Part) -> Iterator[Batch]:
        return self.holding.batches(part, self.click.base.item_ids)

    def _step(self, batch: Batch, gradients: Mapping[str, Tensor]) -> None:
        """One step of Adam on the own tensors of a batch's clients."""
        state, own, rows = self.state, batch.clients, batch.mask.sum(dim=1)
        state.steps[own] += 1
        start = self.click.model.state_dict()
        paces = torch.tensor(self.task.paces)[own]
        for name, values in state.values.items():
            form = (-1, *[1] * (values.ndim - 1))
            pulled = (self._config.fedpa.pull / rows).view(form) * (values[own] - start[name])
            gradient = gradients[name] + pulled
            first = BETAS[0] * state.first[name][own] + (1 - BETAS[0]) * gradient
            second = BETAS[1] * state.second[name][own] + (1 - BETAS[1]) * gradient.square()
            steps = state.steps[own].view(form)
            moved = (first / (1 - BETAS[0] ** steps)) / ((second / (1 - BETAS[1] ** steps)).sqrt() + EPSILON)
            state.first[name][own], state.second[name][own] = first, second
            client = self._owners[name] is Owner.CLIENT
            rate = self._config.fedpa.private_learning_rate if client else self._config.fedpa.group_learning_rate
            values[own] -= rate * paces.view(form) * moved


def click_learner(config: RunConfig, node: Mapping[str, Value], task: Task, training: bool) -> ClickLearner:
    """The learner of a task's clients.

    Raises
    ------
    MessageError : the task is not for this node.
    """
    click = click_run(config)
    holding = ClickHolding.load(config, node, click.base).only(task.clients)
    memories = [Memory(memory_folder(config, node, task.run, client)) for client in holding.names]
    return ClickLearner(click, holding, task, memories, config, training)


def click_facts(config: RunConfig, node: Mapping[str, Value]) -> tuple[ClientFacts, ...]:
    """What the node tells of its clients, each with its group of every attribute.

    Raises
    ------
    DataError : the log is missing or damaged.
    """
    click = click_run(config)
    return ClickHolding.load(config, node, click.base).facts(list(click.groups))


def _between(mixed: State, own: State, share: float) -> State:
    return {name: torch.lerp(tensor, own[name], share) for name, tensor in mixed.items()}


def _column(own: Sequence[Mapping[str, float | int | None]], name: str) -> tuple[float, ...]:
    """One metric of every client; -1 for an AUC that does not exist, 0 for what a client without rows lacks."""
    missing = -1.0 if name == "auc" else 0.0
    found = (metrics.get(name) for metrics in own)
    return tuple(missing if value is None else float(value) for value in found)
