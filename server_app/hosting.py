"""The hosted middle layers as a run sees them: a split service of its own, rounds opened and closed for clients.

A client may start its round from several candidates (the mix, or a step towards its own adapter). Each candidate is a
client of the service, with a token of its own: the one that the client chose is committed, the others are rolled back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from prometheus_client import CollectorRegistry

from common.adapters.lora import targets_of
from common.config import RunConfig
from common.config.split import SplitConfig
from common.cut import Cut, config_digest, digest, owner, read_config, server_side, whole_name
from common.errors import FellrecError
from common.low_rank import Adapter
from common.messages import HostedAccess
from common.models import DTYPES, resolve
from common.recommenders.build import causal
from server_app.split.handshakes import Handshakes
from server_app.split.host import SplitHost
from server_app.split.page import MetricsPage
from server_app.split.settings import AdamW, HostedLora, HostSettings, TlsFiles
from server_app.split_limits import limits_of
from server_app.supervised import SupervisedHost


class Hosting:
    """Starts the split service of a run; to be closed at its end.

    Raises
    ------
    ModelError : the model cannot be cut as the configuration asks.
    ConfigError : the service or its metrics cannot listen as the configuration asks.
    RunError : the state folder cannot be written.
    """

    def __init__(self, config: RunConfig, run: str, state: Path) -> None:
        split, model = config.split, config.model
        tls = _tls(split)
        folder, self._cut = resolve(model.name), Cut(split.k, split.m)
        self._config = read_config(folder)
        self.layers = self._config.num_hidden_layers
        self._cut.check(self._config)
        settings = HostSettings(
            run=run,
            digest=digest(folder),
            config=config_digest(folder),
            k=split.k,
            m=split.m,
            hidden_size=self._config.hidden_size,
            lora=HostedLora(targets_of(self._config.model_type, model.lora_targets), model.lora_rank, model.lora_alpha),
            optimiser=AdamW(weight_decay=config.train.weight_decay),
            limits=limits_of(config, self._config),
            address=split.host,
            batch_clients=split.batch_clients,
        )

        def make(port: int) -> SplitHost:
            trunk = server_side(folder, self._cut, DTYPES[model.dtype])
            self.hosted_parameters = sum(parameter.numel() for parameter in trunk.parameters())
            return SplitHost(
                trunk,
                replace(settings, port=port),
                state,
                tls,
                lambda path: whole_name(path, "server", self._cut, self._config, causal(model)),
            )

        self._open: dict[str, tuple[float, ...]] = {}
        self.registry = registry = CollectorRegistry()
        self._page = MetricsPage(split.metrics_port, registry) if split.metrics_port else None
        try:
            self._service = SupervisedHost(make, split.port)
        except FellrecError:
            if self._page is not None:
                self._page.close()
            raise
        registry.register(self._service)
        self._handshakes = Handshakes()
        if tls is not None:
            self._handshakes.watch()
        self.address = split.advertise or self._service.address

    def close(self) -> None:
        """Ends the service, and its metrics with it."""
        self._service.stop()
        self._handshakes.close()
        if self._page is not None:
            self._page.close()

    def part(self, adapter: Adapter) -> Adapter:
        """The hosted part of a whole adapter."""
        return {name: tensor for name, tensor in adapter.items() if self._is_hosted(name)}

    def rest(self, adapter: Adapter) -> Adapter:
        """What of a whole adapter lives on the client."""
        return {name: tensor for name, tensor in adapter.items() if not self._is_hosted(name)}

    def open(
        self, client: str, round_number: int, rate: float, candidates: Mapping[float, Adapter], seconds: float
    ) -> HostedAccess:
        """Opens a training round on each candidate adapter (by own share)."""

        def opened(host: SplitHost, name: str, adapter: Adapter) -> str:
            host.rollback(name)
            host.load_adapter(name, self.part(adapter))
            host.begin(name, round_number, rate, adapter_seed=0, fresh_optimiser=True)
            return host.mint(name, seconds, owner=client)

        self._open[client] = tuple(candidates)
        return self._access(client, candidates, opened)

    def show(self, client: str, candidates: Mapping[float, Adapter], seconds: float) -> HostedAccess:
        """Lets a client use each candidate adapter without training it."""

        def shown(host: SplitHost, name: str, adapter: Adapter) -> str:
            host.rollback(name)
            host.load_adapter(name, self.part(adapter))
            return host.mint(name, seconds, training=False, owner=client)

        return self._access(client, candidates, shown)

    def commit(self, client: str, round_number: int, share: float, steps: int) -> Adapter:
        """Takes what the client trained on the candidate that it chose; forgets the others. Returns the hosted part.

        Parameters
        ----------
        client : str
            Name of the client.
        round_number : int
            Number of the round.
        share : float
            Own share of the candidate that the client chose.
        steps : int
            Optimiser steps that the client says that it made.

        Raises
        ------
        SplitError : that round is not open, its adapter is not finite, or it has made another number of steps.
        """
        chosen = _candidate(client, share)
        self._service.call(lambda host: host.commit(chosen, round_number, steps))
        self.forget(client)
        return self._service.call(lambda host: host.adapter(chosen))

    def forget(self, client: str) -> None:
        """Rolls back all that a client did in its round and that is not committed, to the bit."""
        for share in self._open.pop(client, ()):
            self._roll_back(_candidate(client, share))

    def _access(
        self, client: str, candidates: Mapping[float, Adapter], let_in: Callable[[SplitHost, str, Adapter], str]
    ) -> HostedAccess:
        def token(name: str, adapter: Adapter) -> str:
            return self._service.call(lambda host: let_in(host, name, adapter))

        return HostedAccess(
            self.address, {share: token(_candidate(client, share), adapter) for share, adapter in candidates.items()}
        )

    def _roll_back(self, name: str) -> None:
        self._service.call(lambda host: host.rollback(name))

    def _is_hosted(self, name: str) -> bool:
        return not name.startswith("projection.") and owner(name, self._cut, self._config) == "server"


def _tls(split: SplitConfig) -> TlsFiles | None:
    """The files, read once so that a wrong one is refused before the model is loaded."""
    if not split.certificate:
        return None
    files = TlsFiles(Path(split.certificate), Path(split.key), Path(split.client_ca) if split.client_ca else None)
    files.read()
    return files


def _candidate(client: str, share: float) -> str:
    return client if not share else f"{client}@{share:g}"
