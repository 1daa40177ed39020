"""The ClientApp: what a node answers. Whatever goes wrong becomes an error reply with a code; it never carries data."""

from __future__ import annotations

import logging
from collections.abc import Callable

from flwr.app import Context, Error, Message
from flwr.clientapp import ClientApp

from client_app import work
from client_app.click_learner import click_facts
from client_app.outbox import record_of
from client_app.text_learner import text_facts
from common.config import RunConfig, from_flat
from common.errors import FellrecError, RunError
from common.messages import Hello, Report, Roster, Task
from common.version import app_identity

log = logging.getLogger("flwr")
app = ClientApp()

UNEXPECTED = 999
"""Error code of a failure that fellrec did not foresee."""


@app.query()
def hello(message: Message, context: Context) -> Message:
    """Who lives here?"""

    def answer(config: RunConfig) -> Roster:
        _same_app(Hello.from_record(message.content).app)
        facts = click_facts if config.model.recommender == "click" else text_facts
        simulated = "partition-id" in context.node_config
        return Roster(app_identity(), simulated, facts(config, context.node_config))

    return _reply(message, context, answer)


@app.train()
def train(message: Message, context: Context) -> Message:
    """Trains the message's clients for one round."""
    return _reply(message, context, lambda config: work.train(config, context.node_config, _task(message)))


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """Measures the final recommenders of the message's clients."""
    return _reply(message, context, lambda config: work.evaluate(config, context.node_config, _task(message)))


def _task(message: Message) -> Task:
    task = Task.from_record(message.content)
    _same_app(task.app)
    return task


def _same_app(server: str) -> None:
    if server != app_identity():
        raise RunError(
            f"the server runs fellrec {server!r}, this client loaded {app_identity()!r}",
            "restart the SuperLink or SuperNode from a neutral directory, with the same fellrec on both sides",
        )


def _reply(message: Message, context: Context, answer: Callable[[RunConfig], Report | Roster]) -> Message:
    try:
        return Message(record_of(answer(from_flat(context.run_config))), reply_to=message)
    except FellrecError as error:
        log.error("%s", error)
        return Message(Error(int(error.code[2:]), work.reason_of(error)), reply_to=message)
    except Exception as error:
        log.exception("unexpected failure")
        return Message(Error(UNEXPECTED, f"unexpected {type(error).__name__}; see the client's log"), reply_to=message)
