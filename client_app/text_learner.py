"""A language model learns from one client's people: loaded, measured, trained, measured again."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from typing import Self

from client_app.assignment import Assignment, stacked
from client_app.cost import client_cost
from client_app.groundings import both_groundings, exactness
from client_app.holding import Holding
from client_app.hosted import Hosted, Middle, Whole
from client_app.items import Shelf, frozen_for, item_matrix
from client_app.learned import Learned, Measured
from client_app.memory import Memory
from client_app.node import all_clients, clients_here, memory_folder, node_home
from client_app.ranking import (
    baseline_scorers,
    fitted_evidence,
    rank,
    rank_with_evidence,
    recommender_scorer,
    summary,
)
from client_app.start import Start, start
from client_app.training import train
from common.config import FedpaConfig, GenerateConfig, ModelConfig, RunConfig, Value
from common.cut import Cut
from common.data.split import Part
from common.errors import DataError, MessageError
from common.low_rank import Adapter, mean_adapter
from common.messages import POOL, ClientFacts, Task
from common.messages.report import TEST, VALIDATION
from common.recommenders.build import build, origin
from common.recommenders.federated import text_scopes
from common.recommenders.generative.recommender import GenerativeRecommender
from common.recommenders.groups import group_codes, group_values
from common.recommenders.recommender import Recommender
from common.recommenders.state import trained_shapes, trained_state
from common.scopes import Scope

log = logging.getLogger("flwr")


@lru_cache(maxsize=1)
def recommender_for(
    model: ModelConfig, generate: GenerateConfig, fedpa: FedpaConfig, seed: int, cut: Cut | None
) -> Recommender:
    """The recommender of this configuration, or the client's side of it; kept while the process lives.

    Flower's simulation serves several clients from one process. Only base weights carry over from one to the next:
    every task loads all trained tensors anew, or is refused.
    """
    return build(model, seed, cut, generate, fedpa)


class TextLearner:
    """One client, for one task; see :class:`client_app.learner.Learner`.

    Parameters
    ----------
    config : RunConfig
        Configuration of the run.
    node : Mapping[str, Value]
        Configuration of the node.
    task : Task
        Message from the server.
    client : str
        One of the task's clients.
    training : bool
        Whether the client is to train, or only to measure.

    Raises
    ------
    MessageError : this node does not host the client, or server and client do not agree on the split.
    """

    def __init__(self, config: RunConfig, node: Mapping[str, Value], task: Task, client: str, training: bool) -> None:
        self._config, self._training, self.clients = config, training, (client,)
        self._holdings = holdings(config, node, client)
        folders = [memory_folder(config, node, task.run, holding.client) for holding in self._holdings]
        self._shelf_memories = [Memory(folder) for folder in folders]
        self.memories = self._shelf_memories[:1]
        cut = Cut(config.split.k, config.split.m) if config.split.on else None
        self._recommender = recommender_for(config.model, config.generate, config.fedpa, config.seed, cut)
        self.scopes = text_scopes(config, trained_shapes(self._recommender))
        codes = dict(zip(group_values(config), codes_of(config, node, client), strict=True))
        self._task = Assignment.of(task, client, codes, self._private(task.round))
        backbone = self._recommender.backbone
        self._middle: Middle = Hosted(backbone, self._task.access, config, node, training) if cut else Whole()
        if isinstance(self._recommender, GenerativeRecommender):
            self._recommender.base_context = self._middle.base
        self._begun: Start | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self._middle.close()

    def validate(self) -> Measured:
        first, memory = self._holdings[0], self._shelf_memories[0]
        texts = self._recommender.catalogue_index(first.dataset.catalogue)
        self._begun = start(
            self._recommender, first, texts, self._task, memory, self._config, self._middle, self._training
        )
        return Measured({VALIDATION: self._begun.validation}, [self._begun.share])

    def train(self) -> Learned:
        config, task, recommender, middle = self._config, self._task, self._recommender, self._middle
        begun = self._begun or self._validated()
        others = zip(self._holdings[1:], self._shelf_memories[1:], strict=True)
        shelves = [begun.shelf, *(self._shelf(holding, memory) for holding, memory in others)]
        rate = config.train.learning_rate * task.pace
        learned = train(recommender, shelves, config, task.client, task.round, rate, middle.step, middle.ahead)
        steps, traffic = middle.steps(), middle.traffic()
        trained = trained_state(recommender)
        private = {name: tensor for name, tensor in trained.items() if self.scopes[name] is Scope.PRIVATE}
        if private:
            self.memories[0].keep(task.round, private, config.strategy.average_rounds)
        names = [name for name in trained if name not in private]
        return Learned(
            contribution=stacked([trained], names),
            start=stacked([begun.adapter], names),
            losses=[learned.loss],
            sizes=[learned.examples],
            hosted_steps=[steps],
            traffic={way: [traffic.get(way, 0)] for way in ("up", "down")},
            waited=middle.waited(),
        )

    def evaluate(self) -> Measured:
        config, task, recommender = self._config, self._task, self._recommender
        self.validate()
        begun = self._begun or self._validated()
        holding = begun.shelf.holding
        cases = holding.cases(Part.TEST, config.evaluate.test_users, config.seed)
        model = recommender_scorer(recommender, begun.shelf)
        evidence, batch = fitted_evidence(model, holding, config), config.evaluate.batch_size
        served, alone = rank_with_evidence(model, evidence, cases, batch)
        ranked = {TEST: served, "model": alone}
        ranked |= {
            n: rank(scorer, cases, batch) for n, scorer in baseline_scorers(holding, config.model.history).items()
        }
        parts = {name: summary(task.client, metrics, len(cases)) for name, metrics in ranked.items()}
        details = {"evidence": _column(asdict(evidence.weights))}
        if isinstance(recommender, GenerativeRecommender):
            details["generation"] = {"exact": [exactness(recommender, begun.shelf, cases, config)]}
            if config.generate.compare:
                measured = parts[TEST], parts["model"]
                parts |= both_groundings(recommender, begun.shelf, cases, config, measured)
        self._middle.leave_out()
        details["cost"] = _column(client_cost(recommender, begun.shelf, config))
        return Measured(parts | {VALIDATION: begun.validation}, [begun.share], details)

    def _validated(self) -> Start:
        self.validate()
        if self._begun is None:
            raise MessageError("a model that was not put in its place", "validate before training")
        return self._begun

    def _private(self, round_number: int) -> Adapter:
        """The client's private tensors as the round starts with them; at the end the mean over the last rounds."""
        names = [name for name, scope in self.scopes.items() if scope is Scope.PRIVATE]
        if not names:
            return {}
        window = 1 if self._training else self._config.strategy.average_rounds
        kept = self.memories[0].kept(round_number + (not self._training), window)
        if not kept:
            config = self._config
            untrained = origin(config.model, config.seed, config.generate, config.fedpa)
            return {name: untrained[name] for name in names}
        if kept[-1].keys() != set(names):
            raise DataError(
                f"client {self.clients[0]!r} keeps private tensors of another model",
                "start a new run, or restore the folder of this run's client",
            )
        return mean_adapter(kept)

    def _shelf(self, holding: Holding, memory: Memory) -> Shelf:
        texts = self._recommender.catalogue_index(holding.dataset.catalogue)
        number, base = self._task.round, self._middle.base
        frozen = frozen_for(self._config, number, self._task.contributed, self._training)
        matrix = item_matrix(self._recommender, texts, holding, memory, self._config, number, base, frozen)
        return Shelf(holding, texts, matrix)


def text_learner(config: RunConfig, node: Mapping[str, Value], task: Task, client: str, training: bool) -> TextLearner:
    """The learner of one of a task's clients; see :class:`TextLearner`."""
    return TextLearner(config, node, task, client, training)


def holdings(config: RunConfig, node: Mapping[str, Value], client: str) -> list[Holding]:
    """The client's holding; for the pool of centralised training, everybody's.

    Raises
    ------
    MessageError : this node does not host the client.
    DataError : its data are missing or damaged.
    """
    if client == POOL:
        if "client-key" in node:
            raise MessageError("this node holds one client's data, no pool", "'centralised' is for simulation only")
        everyone = all_clients(config, node_home(config, node))
        return [Holding.load(name, folder, config.data.split) for name, folder in everyone.items()]
    here = clients_here(config, node)
    if client not in here:
        raise MessageError(f"this node does not host client {client!r}", f"it hosts {', '.join(here)}")
    return [Holding.load(client, here[client], config.data.split)]


def codes_of(config: RunConfig, node: Mapping[str, Value], client: str) -> tuple[int, ...]:
    """The client's value of every grouping attribute."""
    if not group_values(config) or "client-key" in node:
        return group_codes(config, node)
    everyone = list(all_clients(config, node_home(config, node)))
    return group_codes(config, node, everyone.index(client) if client in everyone else 0)


def text_facts(config: RunConfig, node: Mapping[str, Value]) -> tuple[ClientFacts, ...]:
    """What the node tells of its clients; one that has nothing to learn from takes no part, and the node's log says so.

    Raises
    ------
    DataError : that is so for the only client of the node, or its data cannot be read.
    """
    here, known = clients_here(config, node), []
    for name, folder in here.items():
        try:
            holding = Holding.load(name, folder, config.data.split)
            known.append(holding.facts(codes_of(config, node, name)))
        except DataError as error:
            if len(here) == 1:
                raise
            log.warning("client %s takes no part: %s", name, error)
    return tuple(known)


def _column(values: Mapping[str, float]) -> dict[str, list[float]]:
    return {name: [value] for name, value in values.items()}
