"""What the service tells Prometheus. Numbers only: never a value of a tensor, never a token."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

SIZES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """The service's metrics in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.sessions = Gauge("fellrec_split_sessions", "Open sessions", registry=self.registry)
        self.queue = Gauge("fellrec_split_queue", "Requests waiting for their turn", registry=self.registry)
        self.held = Gauge("fellrec_split_held_bytes", "Memory held for clients", registry=self.registry)
        self.batch = Histogram(
            "fellrec_split_batch_clients", "Clients in one batch", buckets=SIZES, registry=self.registry
        )
        self.latency = Histogram(
            "fellrec_split_seconds", "From a request's arrival to its answer", ["op"], registry=self.registry
        )
        self.received = Counter(
            "fellrec_split_received_bytes", "Bytes of messages from clients", registry=self.registry
        )
        self.sent = Counter("fellrec_split_sent_bytes", "Bytes of messages to clients", registry=self.registry)
        self.backwards = Counter(
            "fellrec_split_backwards", "Backwards by what they ran from", ["rung"], registry=self.registry
        )
        self.refused = Counter("fellrec_split_refused", "Refusals by status", ["status"], registry=self.registry)

    def watch(self, sessions: Callable[[], float], queue: Callable[[], float], held: Callable[[], float]) -> None:
        """Reads the gauges from their sources whenever they are asked for."""
        self.sessions.set_function(sessions)
        self.queue.set_function(queue)
        self.held.set_function(held)
