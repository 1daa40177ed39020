"""server_app/run_metrics.py: the event log as numbers for Prometheus."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import CollectorRegistry

from common.events import EventLog
from server_app.run_metrics import RunMetrics


def test_a_run_s_events_become_numbers(tmp_path: Path) -> None:
    registry, log = CollectorRegistry(), EventLog(tmp_path / "events.jsonl")
    log.listen(RunMetrics(registry))
    log.write("round_ended", round=3, clients_ok=2, seconds={"train": 4.0}, clients={"a": {"loss": 1.5}})
    log.write("validated", clients={"a": 0.25})
    for _ in range(2):
        log.write("rejected", client="b")
    log.write("warning", client="a", kind="memory", reason="", hint="")
    log.write("run_ended", table=[])
    found = registry.get_sample_value
    assert found("fellrec_round") == 3 and found("fellrec_round_clients") == 2
    assert found("fellrec_round_seconds", {"part": "train"}) == 4 and found("fellrec_loss", {"client": "a"}) == 1.5
    assert found("fellrec_validation_recall_at_10", {"client": "a"}) == 0.25
    assert found("fellrec_rejected_total", {"client": "b"}) == 2
    assert found("fellrec_warnings_total", {"client": "a", "kind": "memory"}) == 1
