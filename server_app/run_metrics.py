"""The run in numbers for Prometheus: rounds, clients, loss, quality and warnings, read off the event log."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from common.events import Event, Rejected, RoundEnded, Validated, Warned

MOST_SERIES = 100
"""Clients up to which each has a series of its own; of more only sums and means are shown."""


class RunMetrics:
    """A listener of the event log.

    Parameters
    ----------
    registry : CollectorRegistry
        Registry of the page that Prometheus reads.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._round = Gauge("fellrec_round", "Rounds done", registry=registry)
        self._clients = Gauge("fellrec_round_clients", "Clients whose report the last round took", registry=registry)
        self._seconds = Gauge("fellrec_round_seconds", "Of the last round, by part", ["part"], registry=registry)
        self._mean_loss = Gauge("fellrec_round_loss", "Mean of the last round", registry=registry)
        self._loss = Gauge("fellrec_loss", "Of the last round, by client", ["client"], registry=registry)
        self._mean = Gauge("fellrec_validation", "Of all clients, by metric", ["metric"], registry=registry)
        self._own = Gauge("fellrec_client_validation", "By metric and client", ["metric", "client"], registry=registry)
        self._rejected = Counter(
            "fellrec_rejected", "Rounds that a client was left out of", ["client"], registry=registry
        )
        self._warnings = Counter(
            "fellrec_warnings", "What an operator should look at", ["client", "kind"], registry=registry
        )

    def __call__(self, event: Event) -> None:
        match event:
            case RoundEnded() as ended:
                self._round.set(ended.round)
                self._clients.set(ended.clients_ok)
                if ended.loss is not None:
                    self._mean_loss.set(ended.loss)
                for part, seconds in ended.seconds.items():
                    self._seconds.labels(part).set(seconds)
                if len(ended.clients) <= MOST_SERIES:
                    for client, reported in ended.clients.items():
                        if "loss" in reported:
                            self._loss.labels(client).set(reported["loss"])
            case Validated(metric=metric, means=means, clients=clients):
                self._mean.labels(metric).set(means[metric])
                if len(clients) <= MOST_SERIES:
                    for client, value in clients.items():
                        self._own.labels(metric, client).set(value)
            case Rejected(clients=clients):
                for client in clients if len(clients) <= MOST_SERIES else [f"a node of {len(clients)} clients"]:
                    self._rejected.labels(client).inc()
            case Warned(client=client, kind=kind):
                self._warnings.labels(client, kind).inc()
