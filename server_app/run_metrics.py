"""The run in numbers for Prometheus: rounds, clients, loss, quality and warnings, read off the event log."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge

from common.events import Event


class RunMetrics:
    """A listener of the event log.

    Parameters
    ----------
    registry : that of the page which Prometheus reads.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._round = Gauge("fellrec_round", "Rounds done", registry=registry)
        self._clients = Gauge("fellrec_round_clients", "Clients whose report the last round took", registry=registry)
        self._seconds = Gauge("fellrec_round_seconds", "Of the last round, by part", ["part"], registry=registry)
        self._loss = Gauge("fellrec_loss", "Of the last round, by client", ["client"], registry=registry)
        self._recall = Gauge("fellrec_validation_recall_at_10", "By client", ["client"], registry=registry)
        self._rejected = Counter(
            "fellrec_rejected", "Rounds that a client was left out of", ["client"], registry=registry
        )
        self._warnings = Counter("fellrec_warnings", "What an operator should look at", ["client", "kind"],
                                 registry=registry)  # fmt: skip

    def __call__(self, event: Event) -> None:
        kind = event["event"]
        if kind == "round_ended":
            self._round.set(event["round"])
            self._clients.set(event["clients_ok"])
            for part, seconds in event["seconds"].items():
                self._seconds.labels(part).set(seconds)
            for client, told in event["clients"].items():
                self._loss.labels(client).set(told["loss"])
        elif kind == "validated":
            for client, recall in event["clients"].items():
                self._recall.labels(client).set(recall)
        elif kind == "rejected":
            self._rejected.labels(event["client"]).inc()
        elif kind == "warning":
            self._warnings.labels(event["client"], event["kind"]).inc()
