"""A node's answer to a message: its clients validate and train, or measure the end; whatever leaves goes by the outbox."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch

from client_app.assignment import one_of_each
from client_app.click_learner import click_learner
from client_app.learned import Learned, Measured
from client_app.learner import Learner
from client_app.misbehaviour import misbehave
from client_app.outbox import Outbox, Released
from client_app.text_learner import text_learner
from common.config import RunConfig, Value
from common.errors import ConfigError, DataError, FellrecError
from common.line import line
from common.memory_use import memory_limit, peak_memory
from common.messages import Report, Task
from common.messages.measurement import joined
from common.privacy.budget import release_settings

log = logging.getLogger("flwr")

Made = tuple[tuple[str, ...], Callable[[], Learner]]
"""Clients, and what makes their learner."""

LONGEST_REASON = 250
"""Characters of a reason that travel."""


@dataclass(frozen=True, eq=False)
class Answer:
    """What one learner's clients measured."""

    learner: Learner
    measured: Measured
    seconds: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Trained(Answer):
    """What one learner's clients measured and learned."""

    learned: Learned
    released: Released


A = TypeVar("A", bound=Answer)


def train(config: RunConfig, node: Mapping[str, Value], task: Task) -> Report:
    """Measures the models that the round starts from, trains them, and reports.

    Raises
    ------
    OutboxError, MessageError : something may not leave, or the task is not for this node.
    FellrecError : what the only client of the message failed of; one of several is left out instead.
    """
    noise = release_settings(config.privacy, config.num_server_rounds)
    received = one_of_each(task)

    def work(learner: Learner) -> Trained:
        clock = time.perf_counter()
        measured = learner.validate()
        validated = time.perf_counter()
        learned = misbehave(config, node, learner.clients, learner.train())
        trained = time.perf_counter()
        door = Outbox(learner.scopes, received, config.privacy, noise)
        released = door.release(learner.clients, learned.contribution, learner.memories, learned.start)
        seconds = {
            "evaluate": validated - clock,
            "train": trained - validated,
            "split": learned.waited,
            "outbox": time.perf_counter() - trained,
        }
        return Trained(learner, measured, seconds, learned, released)

    answers, left_out = _answers(config, node, task, True, work)
    rows = [(answer, place) for answer in answers for place in answer.released.places]
    parts = [answer.released.contribution for answer in answers if answer.released.places]
    hosted = bool(task.access)
    return Report(
        round=task.round,
        clients=tuple(answer.learner.clients[place] for answer, place in rows),
        contribution={name: torch.cat([part[name] for part in parts]) for name in (parts[0] if parts else ())},
        # how many examples a client has, and how well they fit, is not covered by the noise
        sizes=[1 if noise else answer.learned.sizes[place] for answer, place in rows],
        losses=[] if noise else [answer.learned.losses[place] for answer, place in rows],
        epsilons=[epsilon for answer in answers for epsilon in answer.released.epsilons],
        hosted_steps=[answer.learned.hosted_steps[place] for answer, place in rows] if hosted else (),
        traffic={
            way: [answer.learned.traffic[way][place] for answer, place in rows] for way in ("up", "down") if hosted
        },
        left_out=left_out | {c: why for answer in answers for c, why in answer.released.left_out.items()},
        **_measured(answers),
    )


def evaluate(config: RunConfig, node: Mapping[str, Value], task: Task) -> Report:
    """Measures the final models on validation and test data, beside what they are held against.

    Raises
    ------
    MessageError : the task is not for this node.
    FellrecError : what the only client of the message failed of; one of several is left out instead.
    """

    def work(learner: Learner) -> Answer:
        clock = time.perf_counter()
        measured = learner.evaluate()
        return Answer(learner, measured, {"evaluate": time.perf_counter() - clock})

    answers, left_out = _answers(config, node, task, False, work)
    return Report(round=task.round, left_out=left_out, **_measured(answers))


def _learners(config: RunConfig, node: Mapping[str, Value], task: Task, training: bool) -> list[Made]:
    """What learns, each with its clients: small models all at once, language models one after another."""
    if config.model.recommender == "click":
        return [(task.clients, partial(click_learner, config, node, task, training))]
    return [((client,), partial(text_learner, config, node, task, client, training)) for client in task.clients]


def _answers(
    config: RunConfig, node: Mapping[str, Value], task: Task, training: bool, work: Callable[[Learner], A]
) -> tuple[list[A], dict[str, str]]:
    answers: list[A] = []
    left_out: dict[str, str] = {}
    made = _learners(config, node, task, training)
    for clients, make in made:
        try:
            with make() as learner:
                answers.append(work(learner))
        except FellrecError as error:
            if len(made) == 1:
                raise
            log.error("%s", error)
            left_out |= dict.fromkeys(clients, line(reason_of(error), LONGEST_REASON))
    return answers, left_out


def reason_of(error: FellrecError) -> str:
    """What the server may learn of a failure: what is wrong with data or settings may quote them, or name a path."""
    return f"[{error.code}] see the client's log" if isinstance(error, DataError | ConfigError) else str(error)


def _measured(answers: Sequence[Answer]) -> dict[str, Any]:
    details: dict[str, dict[str, list[float]]] = {}
    for answer in answers:
        for name, columns in answer.measured.details.items():
            for key, values in columns.items():
                details.setdefault(name, {}).setdefault(key, []).extend(values)
    seconds: dict[str, float] = {}
    for answer in answers:
        for name, value in answer.seconds.items():
            seconds[name] = seconds.get(name, 0.0) + value
    measurements = joined(answer.measured.parts for answer in answers)
    by_name = {
        client: share
        for answer in answers
        for client, share in zip(answer.learner.clients, answer.measured.shares, strict=True)
    }
    order = [client for answer in answers for client in answer.learner.clients]
    measured = next(iter(measurements.values())).clients if measurements else ()
    places = [order.index(client) for client in measured]
    return {
        "measured": measured,
        "shares": [by_name[client] for client in measured],
        "measurements": measurements,
        "details": {
            name: {key: [values[place] for place in places] for key, values in columns.items()}
            for name, columns in details.items()
        },
        "seconds": seconds,
        "memory": {"peak": peak_memory(), "limit": memory_limit()},
    }
