"""The ServerApp, a table of contents: configuration, run folder, model, strategy, result."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack, closing, suppress
from datetime import UTC, datetime

from flwr.app import ArrayRecord, Context
from flwr.serverapp import Grid, ServerApp
from prometheus_client import CollectorRegistry

from common.config import RunConfig, from_flat
from common.errors import FellrecError, RunError
from common.events import EventLog, RunEnded, RunFailed, RunStarted
from common.recommenders.federated import federated_model
from common.run_folder import RunFolder
from common.table import result_table
from server_app.hosting import Hosting
from server_app.progress import Progress
from server_app.result import result_of
from server_app.run_metrics import RunMetrics
from server_app.split.page import MetricsPage
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
    log.write(RunStarted(folder.name, str(folder.path), str(context.run_id)))
    try:
        with ExitStack() as stack:
            # what does not fit together is refused before the service reads weights
            model, hosting = federated_model(config), None
            if config.split.on:
                hosting = stack.enter_context(closing(Hosting(config, folder.name, folder.path / "hosted")))
                log.listen(RunMetrics(hosting.registry))
            elif config.split.metrics_port:
                registry = CollectorRegistry()
                stack.enter_context(closing(MetricsPage(config.split.metrics_port, registry)))
                log.listen(RunMetrics(registry))
            strategy = FederatedRecommenders(config, model, folder, log, began, hosting)
            strategy.start(grid, ArrayRecord(), config.num_server_rounds)
            result = result_of(strategy, created)
        folder.save_result(result)
    except FellrecError as error:
        _failed(log, error.code, str(error))
        raise
    except Exception as error:
        _failed(log, "FR999", f"unexpected {type(error).__name__}: {error}")
        raise
    log.write(RunEnded(result_table(result), str(folder.path / "result.json")))


def _failed(log: EventLog, code: str, reason: str) -> None:
    # a log that cannot be written must not hide why the run fails
    with suppress(RunError):
        log.write(RunFailed(code, reason))


def _folder(config: RunConfig, unique: str) -> RunFolder:
    return RunFolder.reopen(config) if config.resume else RunFolder.create(config, unique)
