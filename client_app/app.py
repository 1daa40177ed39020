"""The ClientApp: what a client answers. Whatever goes wrong becomes an error reply with a code; it never carries data."""

from __future__ import annotations

import logging
from collections.abc import Callable

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp

from client_app.client import Client, facts
from client_app.crowd import evaluate_crowd, roster, train_crowd
from client_app.outbox import release
from common.config import RunConfig, from_flat
from common.crowd_messages import CrowdTask
from common.errors import ConfigError, DataError, FellrecError, RunError
from common.messages import Hello, Roster, Task
from common.version import app_identity

log = logging.getLogger("flwr")
app = ClientApp()

UNEXPECTED = 999
"""Error code of a failure that fellrec did not foresee."""


@app.query()
def hello(message: Message, context: Context) -> Message:
    """Who lives here?"""

    def answer(config: RunConfig) -> RecordDict:
        _same_app(Hello.from_record(message.content).app)
        if config.model.recommender == "click":
            return release(roster(config, context.node_config))
        simulated = "partition-id" in context.node_config
        return release(Roster(app_identity(), simulated, facts(config, context.node_config)))

    return _reply(message, context, answer)


@app.train()
def train(message: Message, context: Context) -> Message:
    """Trains one client's recommender for one round; a click model's node all of its clients'."""

    def answer(config: RunConfig) -> RecordDict:
        if config.model.recommender == "click":
            return release(train_crowd(config, context.node_config, _crowd_task(message)))
        with Client(config, context.node_config, _task(message), training=True) as client:
            return release(client.train())

    return _reply(message, context, answer)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """Measures one client's final recommender; a click model's node all of its clients'."""

    def answer(config: RunConfig) -> RecordDict:
        if config.model.recommender == "click":
            return release(evaluate_crowd(config, context.node_config, _crowd_task(message)))
        with Client(config, context.node_config, _task(message), training=False) as client:
            return release(client.evaluate())

    return _reply(message, context, answer)


def _task(message: Message) -> Task:
    task = Task.from_record(message.content)
    _same_app(task.app)
    return task


def _crowd_task(message: Message) -> CrowdTask:
    task = CrowdTask.from_record(message.content)
    _same_app(task.app)
    return task


def _same_app(server: str) -> None:
    if server != app_identity():
        raise RunError(
            f"the server runs fellrec {server!r}, this client loaded {app_identity()!r}",
            "restart the SuperLink or SuperNode from a neutral directory, with the same fellrec on both sides",
        )


def _reply(message: Message, context: Context, answer: Callable[[RunConfig], RecordDict]) -> Message:
    try:
        return Message(answer(from_flat(context.run_config)), reply_to=message)
    except FellrecError as error:
        log.error("%s", error)
        # What is wrong with data or settings may quote them, or name a path; the server learns the code alone.
        quiet = isinstance(error, DataError | ConfigError)
        reason = f"[{error.code}] see the client's log" if quiet else str(error)
        return Message(Error(int(error.code[2:]), reason), reply_to=message)
    except Exception as error:
        log.exception("unexpected failure")
        return Message(Error(UNEXPECTED, f"unexpected {type(error).__name__}; see the client's log"), reply_to=message)
