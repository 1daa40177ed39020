"""A node's clients where one user is one client: what they answer to the server, all in one message."""

from __future__ import annotations

import time
from collections.abc import Mapping

from client_app.crowd_holding import CrowdHolding
from client_app.crowd_memory import CrowdMemory
from client_app.crowd_outbox import CrowdOutbox, Released
from client_app.crowd_training import CrowdModel, measure, train
from client_app.node import memory_folder
from common.config import RunConfig, Value
from common.crowd_messages import CrowdReport, CrowdRoster, CrowdTask
from common.data.split import Part
from common.memory_use import peak_memory
from common.privacy.budget import release_settings
from common.recommenders.click_build import ClickRun, click_run
from common.scopes import Scope
from common.version import app_identity


def roster(config: RunConfig, node: Mapping[str, Value]) -> CrowdRoster:
    """Who lives here, and each client's group of every attribute: the server needs it to average within groups."""
    click = click_run(config)
    holding = CrowdHolding.load(config, node, click.base)
    codes = holding.codes(list(click.groups))
    return CrowdRoster(app_identity(), holding.simulated, holding.facts(), holding.names, codes)


def train_crowd(config: RunConfig, node: Mapping[str, Value], task: CrowdTask) -> CrowdReport:
    """Measures the models that the round starts from on validation rows, trains them, and reports.

    Raises
    ------
    OutboxError, MessageError : something may not leave, or the task is not for this node.
    """
    clock = time.perf_counter()
    click, holding, memory = _here(config, node, task)
    model = CrowdModel(click, holding, task, memory.load(click.start(Scope.PRIVATE), task.round))
    scores = {"valid": measure(model, Part.VALID)}
    measured = time.perf_counter()
    learned = train(model, config)
    memory.save(model.private, task.round)
    trained = time.perf_counter()
    release = release_settings(config.privacy, config.num_server_rounds)
    one = task.shared | {name: table[0] for name, table in task.tables.items()}
    door = CrowdOutbox(click.scopes, one, config.privacy, release)
    out = door.release(holding.names, learned.upload, memory)
    rows = holding.rows(Part.TRAIN)
    return CrowdReport(
        round=task.round,
        clients=tuple(holding.names[place] for place in out.places),
        upload=out.upload,
        # how many rows a client has, and how well they fit, is not covered by the noise
        weights=[1.0 if release else float(rows[place]) for place in out.places],
        losses=[] if release else _losses(out, learned.losses.tolist()),
        epsilons=out.epsilons,
        scores=scores,
        measured=holding.names,
        left_out=out.left_out,
        seconds={
            "evaluate": measured - clock, "train": trained - measured, "outbox": time.perf_counter() - trained,
        },
        peak_memory=peak_memory(),
    )  # fmt: skip


def evaluate_crowd(config: RunConfig, node: Mapping[str, Value], task: CrowdTask) -> CrowdReport:
    """Measures the final models on validation and test rows, and the warm start on test rows."""
    clock = time.perf_counter()
    click, holding, memory = _here(config, node, task)
    model = CrowdModel(click, holding, task, memory.load(click.start(Scope.PRIVATE), task.round + 1))
    scores = {part.name.lower(): measure(model, part) for part in (Part.VALID, Part.TEST)}
    scores["warm"] = measure(model, Part.TEST, warm=True)
    return CrowdReport(
        round=task.round,
        clients=(),
        upload={},
        weights=[],
        losses=[],
        epsilons=[],
        scores=scores,
        measured=holding.names,
        seconds={"evaluate": time.perf_counter() - clock},
        peak_memory=peak_memory(),
    )


def _here(config: RunConfig, node: Mapping[str, Value], task: CrowdTask) -> tuple[ClickRun, CrowdHolding, CrowdMemory]:
    click = click_run(config)
    holding = CrowdHolding.load(config, node, click.base).only(task.clients)
    memory = CrowdMemory(lambda client: memory_folder(config, node, task.run, client), holding.names)
    return click, holding, memory


def _losses(out: Released, losses: list[float]) -> list[float]:
    return [losses[place] for place in out.places]
