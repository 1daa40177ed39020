"""A run's client made ready to recommend: its data, its adapter, and all layers here or the middle ones at a service."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from client_app.click_holding import ClickHolding
from client_app.click_recommend import ClickRecommending
from client_app.holding import Holding
from client_app.items import Base
from client_app.memory import Memory
from client_app.node import all_clients, memory_folder
from client_app.recommend import Recommending
from client_app.recommendations import Recommends
from common.config import RunConfig
from common.errors import ConfigError, RunError
from common.recommenders.click.run import click_run
from common.recommenders.evidence import Weights
from common.run_folder import RunFolder
from fellrec.served import served_adapter
from fellrec.serving import split_recommender, whole_recommender


@dataclass(frozen=True)
class ServiceAt:
    """Where `fellrec serve` listens, and what opens it: a file with the client's token, and PEM files beyond loopback."""

    address: str
    token: Path | None
    root_certificate: str = ""
    certificate: str = ""
    key: str = ""


@contextmanager
def recommending(
    run: RunFolder, client: str = "", service: ServiceAt | None = None, data: Path | None = None
) -> Iterator[Recommends]:
    """The recommender of a run's client.

    Parameters
    ----------
    client : '' takes the first. service : None runs all layers here. data : the folder of a client's data on its own
        machine; None takes the simulated client's.

    Raises
    ------
    RunError : the run has no result, or no such client, or the client has lost its frozen item matrix or private tensors.
    ConfigError : there is no token, or ``data`` without ``client``.
    """
    config, result = run.config(), run.result()
    if data is not None and not client:
        raise ConfigError(f"--data-path is {str(data)!r}, but --client is ''", "say whose data they are")
    token = _token(run, config, service) if service is not None else ""
    with ExitStack() as stack:
        if config.model.recommender == "click":
            yield _of_click(run, config, client, data)
        else:
            yield _of_text(run, config, result, client, service, token, data, stack)


def _of_click(run: RunFolder, config: RunConfig, client: str, data: Path | None) -> Recommends:
    click = click_run(config)
    holding = ClickHolding.of_client(config, client, data, click.base)
    model = click.of_client(served_adapter(run, holding.names[0]))
    return ClickRecommending(model, holding, click.base.item_ids)


def _of_text(
    run: RunFolder,
    config: RunConfig,
    result: Mapping[str, Any],
    client: str,
    service: ServiceAt | None,
    token: str,
    data: Path | None,
    stack: ExitStack,
) -> Recommends:
    """``stack`` ends the connection to the service."""
    client, folder = _client(run, config, client, data)
    holding = Holding.load(client, folder, config.data.split)
    memory = Memory(memory_folder(config, {}, run.name, client))
    adapter, rounds = served_adapter(run, client), result["run"]["rounds"]
    base: Base = nullcontext
    if service is None:
        recommender = whole_recommender(config, adapter)
    else:
        recommender, hosted = split_recommender(
            config,
            run.name,
            client,
            adapter,
            service.address,
            token,
            service.root_certificate,
            service.certificate,
            service.key,
        )
        stack.enter_context(closing(hosted))
        base = hosted.base
    return Recommending(recommender, holding, memory, config, rounds, chosen_weights(result, client), base)


def chosen_weights(result: Mapping[str, Any], client: str) -> Weights | None:
    """The weights of the client's evidence that were chosen when the run ended; None where the result has none."""
    found = result["metrics"]["clients"].get(client, {}).get("evidence", {})
    names = {field.name for field in fields(Weights)}
    if not found or not found.keys() <= names:
        return None
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in found.values()):
        raise RunError(f"result.json has evidence {found!r} for client {client!r}", "it must hold numbers")
    return Weights(**found)


def _client(run: RunFolder, config: RunConfig, client: str, data: Path | None) -> tuple[str, Path]:
    if data is not None:
        return client, data
    clients = all_clients(config, config.home)
    client = client or next(iter(clients))
    if client not in clients:
        raise RunError(f"run {run.name!r} has no client {client!r}", f"it has {', '.join(clients)}")
    return client, clients[client]


def _token(run: RunFolder, config: RunConfig, service: ServiceAt) -> str:
    if not config.split.on:
        raise ConfigError(
            f"--service is {service.address!r}, but run {run.name!r} was trained without the split", "leave it out"
        )
    if service.token is None or not service.token.is_file():
        told = None if service.token is None else str(service.token)
        raise ConfigError(f"--token is {told!r}", "give the client's token file, as `fellrec serve` prints it")
    return service.token.read_text(encoding="utf-8-sig").strip()
