"""server_app/run_metrics.py: the event log as numbers for Prometheus."""

from __future__ import annotations

import socket
from pathlib import Path

import httpx
import pytest
from flwr.app import Message
from prometheus_client import CollectorRegistry

from common.events import EventLog, Rejected, RoundEnded, RunEnded, Validated, Warned
from server_app.run_metrics import RunMetrics
from tests.clicks import click_settings
from tests.federation import MANY, federate, tiny_settings


def test_a_run_s_events_become_numbers(tmp_path: Path) -> None:
    registry, log = CollectorRegistry(), EventLog(tmp_path / "events.jsonl")
    log.listen(RunMetrics(registry))
    log.write(RoundEnded(3, {"train": 4.0}, 1.25, 2, {}, False, {"a": {"loss": 1.5}}))
    log.write(Validated(3, "recall@10", {"recall@10": 0.5}, {}, {"a": 0.25}))
    for _ in range(2):
        log.write(Rejected(3, ["b"], "FR400", ""))
    log.write(Warned(3, "a", "memory", ""))
    log.write(RunEnded([], ""))
    found = registry.get_sample_value
    assert found("fellrec_round") == 3 and found("fellrec_round_clients") == 2
    assert found("fellrec_round_seconds", {"part": "train"}) == 4 and found("fellrec_loss", {"client": "a"}) == 1.5
    assert found("fellrec_client_validation", {"metric": "recall@10", "client": "a"}) == 0.25
    assert found("fellrec_validation", {"metric": "recall@10"}) == 0.5 and found("fellrec_round_loss") == 1.25
    assert found("fellrec_rejected_total", {"client": "b"}) == 2
    assert found("fellrec_warnings_total", {"client": "a", "kind": "memory"}) == 1


@pytest.mark.parametrize("make", [tiny_settings, click_settings])
def test_a_run_without_hosted_layers_has_its_page_too(fellrec_home: Path, make) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    pages: list[str] = []

    def looks(reply: Message) -> Message:
        pages.append(httpx.get(f"http://127.0.0.1:{port}/metrics").text)
        return reply

    federate(make(fellrec_home, split__metrics_port=port), nodes=1, faults={("toy-0", 2): looks, (MANY, 2): looks})
    assert pages and "fellrec_round 1.0" in pages[0] and "fellrec_round_loss" in pages[0]
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/metrics")
