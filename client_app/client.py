"""One client: what it does with a task. It knows messages, not Flower's transport."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache

from client_app.cost import client_cost
from client_app.groundings import both_groundings, exactness
from client_app.holding import Holding
from client_app.hosted import Hosted, Middle, Whole
from client_app.items import Shelf, frozen_for, item_matrix
from client_app.memory import Memory
from client_app.node import all_clients, clients_here, memory_folder, node_home
from client_app.outbox import Outbox
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
from common.config import GenerateConfig, ModelConfig, RunConfig, Value
from common.cut import Cut
from common.data.split import Part
from common.errors import DataError, MessageError
from common.memory_use import memory_limit, peak_memory
from common.messages import POOL, ClientFacts, EvaluateReport, Task, TrainReport
from common.recommenders.build import build
from common.recommenders.generative import GenerativeRecommender
from common.recommenders.recommender import Recommender
from common.recommenders.state import trained_state

log = logging.getLogger("flwr")


@lru_cache(maxsize=1)
def recommender_for(model: ModelConfig, generate: GenerateConfig, seed: int, cut: Cut | None) -> Recommender:
    """The recommender of this configuration, or the client's side of it; kept while the process lives.

    Flower's simulation serves several clients from one process. Only base weights carry over from one to the next:
    every task loads all trained tensors anew, or is refused.
    """
    return build(model, seed, cut, generate)


class Client:
    """A client of this node, for one task; a context, so that its connections end.

    Raises
    ------
    MessageError : this node does not host ``task.client``, or server and client do not agree on the split.
    """

    def __init__(self, config: RunConfig, node: Mapping[str, Value], task: Task, training: bool) -> None:
        self._config, self._task, self._training = config, task, training
        self._holdings = holdings(config, node, task.client)
        self._memories = {h.client: Memory(memory_folder(config, node, task.run, h.client)) for h in self._holdings}
        cut = Cut(config.split.k, config.split.m) if config.split.on else None
        self._recommender = recommender_for(config.model, config.generate, config.seed, cut)
        self._middle: Middle = Hosted(self._recommender.backbone, task, config, node, training) if cut else Whole()
        if isinstance(self._recommender, GenerativeRecommender):
            self._recommender.base_context = self._middle.base

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *failure: object) -> None:
        self._middle.close()

    def train(self) -> TrainReport:
        """Measures the model the round starts from, trains it, and reports."""
        config, task, recommender = self._config, self._task, self._recommender
        clock = time.perf_counter()
        begun, others = self._start()
        shelves = [begun.shelf, *(self._shelf(holding) for holding in others)]
        measured = time.perf_counter()
        rate, middle = task.learning_rate, self._middle
        learned = train(recommender, shelves, config, task.client, task.round, rate, middle.step, middle.ahead)
        steps = middle.steps()
        trained = time.perf_counter()
        return TrainReport(
            client=task.client,
            round=task.round,
            adapter=Outbox(config.strategy.name, task.adapter).adapter(trained_state(recommender)),
            loss=learned.loss,
            examples=learned.examples,
            share=begun.share,
            validation=begun.validation,
            seconds={"evaluate": measured - clock, "train": trained - measured, "split": middle.waited()},
            split_bytes=self._middle.traffic(),
            memory={"peak": peak_memory(), "limit": memory_limit()},
            hosted_steps=steps,
        )

    def evaluate(self) -> EvaluateReport:
        """Measures the final model and the baselines on test users."""
        config, task, recommender = self._config, self._task, self._recommender
        clock = time.perf_counter()
        begun, _ = self._start()
        holding = begun.shelf.holding
        cases = holding.cases(Part.TEST, config.evaluate.test_users, config.seed)
        model = recommender_scorer(recommender, begun.shelf)
        evidence, batch = fitted_evidence(model, holding, config), config.evaluate.batch_size
        served, alone = rank_with_evidence(model, evidence, cases, batch)
        ranked = {"test": served, "model": alone}
        ranked |= {
            n: rank(scorer, cases, batch) for n, scorer in baseline_scorers(holding, config.model.history).items()
        }
        rankings = {name: summary(metrics, len(cases)) for name, metrics in ranked.items()}
        generation = {}
        if isinstance(recommender, GenerativeRecommender):
            generation = {"exact": exactness(recommender, begun.shelf, cases, config)}
            if config.generate.compare:
                measured = rankings["test"], rankings["model"]
                rankings |= both_groundings(recommender, begun.shelf, cases, config, measured)
        seconds = time.perf_counter() - clock
        self._middle.leave_out()
        return EvaluateReport(
            client=task.client,
            round=task.round,
            share=begun.share,
            rankings=rankings | {"validation": begun.validation},
            evidence=asdict(evidence.weights),
            seconds={"evaluate": seconds},
            cost=client_cost(recommender, begun.shelf, config),
            generation=generation,
        )

    def _start(self) -> tuple[Start, list[Holding]]:
        first, *others = self._holdings
        texts = self._recommender.catalogue_index(first.dataset.catalogue)
        memory, middle = self._memories[first.client], self._middle
        begun = start(self._recommender, first, texts, self._task, memory, self._config, middle, self._training)
        return begun, others

    def _shelf(self, holding: Holding) -> Shelf:
        texts = self._recommender.catalogue_index(holding.dataset.catalogue)
        memory, frozen = self._memories[holding.client], frozen_for(self._config, self._task, self._training)
        number, base = self._task.round, self._middle.base
        matrix = item_matrix(self._recommender, texts, holding, memory, self._config, number, base, frozen)
        return Shelf(holding, texts, matrix)


def holdings(config: RunConfig, node: Mapping[str, Value], client: str) -> list[Holding]:
    """The client's holding; for the pool of centralised training, everybody's."""
    if client == POOL:
        if "client-key" in node:
            raise MessageError("this node holds one client's data, no pool", "'centralised' is for simulation only")
        everyone = all_clients(config, node_home(config, node))
        return [Holding.load(name, folder, config.data.split) for name, folder in everyone.items()]
    here = clients_here(config, node)
    if client not in here:
        raise MessageError(f"this node does not host client {client!r}", f"it hosts {', '.join(here)}")
    return [Holding.load(client, here[client], config.data.split)]


def facts(config: RunConfig, node: Mapping[str, Value]) -> tuple[ClientFacts, ...]:
    """What the node tells of its clients; one that has nothing to learn from takes no part, and the node's log says so.

    Raises
    ------
    DataError : that is so for the only client of the node, or its data cannot be read.
    """
    here, told = clients_here(config, node), []
    for name, folder in here.items():
        try:
            told.append(Holding.load(name, folder, config.data.split).facts())
        except DataError as error:
            if len(here) == 1:
                raise
            log.warning("client %s takes no part: %s", name, error)
    return tuple(told)
