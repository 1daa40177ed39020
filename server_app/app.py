"""The ServerApp, a table of contents: configuration, run folder, strategy, rounds, result."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack, closing, suppress
from datetime import UTC, datetime
from typing import Any

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from common.config import RunConfig, from_flat
from common.errors import FellrecError, RunError
from common.events import EventLog
from common.recommenders.build import origin
from common.recommenders.click_build import click_run
from common.run_folder import RunFolder
from common.table import result_table
from server_app.clients import Clients
from server_app.crowd_result import crowd_result
from server_app.crowd_rounds import CrowdRounds
from server_app.hosting import Hosting
from server_app.progress import Progress
from server_app.result import result_of
from server_app.rounds import Rounds
from server_app.run_metrics import RunMetrics
from server_app.strategy import FederatedRecommenders

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Runs the federation that the run configuration describes."""
    began, created = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
    try:
        config = from_flat(context.run_config)
        folder = _folder(config, f"{context.run_id & 0xFFFF:04x}")
    except FellrecError as error:
        logging.getLogger("flwr").error("%s", error)
        raise
    log = folder.events()
    log.listen(Progress())
    log.write("run_started", run=folder.name, folder=str(folder.path), flower_run=str(context.run_id))
    try:
        whole_run = _crowd if config.model.recommender == "click" else _recommenders
        result = whole_run(config, grid, folder, log, created, began)
        folder.save_result(result)
    except FellrecError as error:
        _failed(log, error.code, str(error))
        raise
    except Exception as error:
        _failed(log, "FR999", f"unexpected {type(error).__name__}: {error}")
        raise
    log.write("run_ended", table=result_table(result), result=str(folder.path / "result.json"))


def _failed(log: EventLog, code: str, reason: str) -> None:
    # a log that cannot be written must not hide why the run fails
    with suppress(RunError):
        log.write("run_failed", code=code, reason=reason)


def _recommenders(
    config: RunConfig, grid: Grid, folder: RunFolder, log: EventLog, created: str, began: float
) -> dict[str, Any]:
    """Clients with users of their own, each a message."""
    with ExitStack() as stack:
        # what does not fit together is refused before the service reads weights
        untrained = origin(config.model, config.seed, config.generate)
        hosting = None
        if config.split.on:
            hosting = stack.enter_context(closing(Hosting(config, folder.name, folder.path / "hosted")))
            log.listen(RunMetrics(hosting.registry))
        strategy = FederatedRecommenders(config, folder.name, untrained, Clients(), log, hosting)
        rounds = Rounds(config, grid, strategy, folder, log, began)
        rounds.run()
    mode = "simulation" if strategy.clients.simulated else "deployment"
    return result_of(config, folder.name, created, mode, rounds.course.seconds(), strategy, rounds.course.done)


def _crowd(
    config: RunConfig, grid: Grid, folder: RunFolder, log: EventLog, created: str, began: float
) -> dict[str, Any]:
    """One user one client, all of a node's in one message."""
    rounds = CrowdRounds(config, grid, click_run(config), folder, log, began)
    rounds.run()
    return crowd_result(config, folder.name, created, rounds.course.seconds(), rounds)


def _folder(config: RunConfig, unique: str) -> RunFolder:
    return RunFolder.reopen(config) if config.resume else RunFolder.create(config, unique)
