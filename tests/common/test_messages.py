"""common/messages.py: what is written is read back the same; what is wrong is named."""

from __future__ import annotations

import pytest
import torch
from flwr.app import ConfigRecord, MetricRecord, RecordDict

from common.errors import MessageError
from common.messages import (
    COST,
    RANKINGS,
    ClientFacts,
    EvaluateReport,
    Hello,
    Ranking,
    Roster,
    Task,
    TrainReport,
    check_adapter,
)  # fmt: skip
from common.metrics import METRICS
from common.record_fields import message_bytes

ADAPTER = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(4)}
RANKING = Ranking(5, {name: place / 10 for place, name in enumerate(METRICS)})


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_task() -> None:
    task = Task("app", "run", "shop-a", 3, ADAPTER, {name: -tensor for name, tensor in ADAPTER.items()}, 0.25)
    read = Task.from_record(task.to_record())
    assert (read.app, read.run, read.client, read.round, read.learning_rate) == ("app", "run", "shop-a", 3, 0.25)
    assert same(read.adapter, task.adapter) and same(read.own, task.own)
    assert Task.from_record(Task("app", "run", "c", 1, ADAPTER).to_record()).own is None


def test_train_report() -> None:
    report = TrainReport("c", 2, ADAPTER, 1.5, 64, 0.5, RANKING, {"train": 3.0, "evaluate": 1.0}, {"up": 5.0})
    read = TrainReport.from_record(report.to_record())
    assert same(read.adapter, ADAPTER)
    assert (read.client, read.round, read.loss, read.examples, read.share) == ("c", 2, 1.5, 64, 0.5)
    assert read.validation == RANKING and read.seconds == report.seconds


def test_evaluate_report() -> None:
    report = EvaluateReport(
        "c", 2, 0.0, dict.fromkeys(RANKINGS, RANKING), {"popularity": 1.0}, {"evaluate": 1.0}, dict.fromkeys(COST, 7)
    )
    assert EvaluateReport.from_record(report.to_record()) == report


def test_roster_and_hello() -> None:
    facts = ClientFacts("c", "set", "f" * 64, "d" * 64, 3, 4, 5, 2, True, "leave-last-out")
    roster = Roster("app", True, (facts,))
    assert Roster.from_record(roster.to_record()) == roster
    assert Hello.from_record(Hello("app").to_record()) == Hello("app")


def test_bytes_are_of_every_tensor_text_and_number() -> None:
    alone, both = (message_bytes(Task("a", "r", "c", 1, ADAPTER, own).to_record()) for own in (None, ADAPTER))
    fields = len("app" + "a" + "run" + "r" + "client" + "c" + "server-round" + "learning-rate") + 2 * 8
    assert alone - fields == both - alone and both - alone >= (6 + 4) * 4


def report_record(**changes: object) -> RecordDict:
    record = TrainReport("c", 2, ADAPTER, 1.5, 64, 0.5, RANKING, {}, {}).to_record()
    for key, value in changes.items():
        record["metrics"][key.replace("__", ".").replace("_at_", "@").replace("_", "-")] = value
    return record


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"loss": float("nan")}, "'loss' = nan"),
        ({"num_examples": 1.5}, "'num-examples' = 1.5"),
        ({"num_examples": -1}, "'num-examples' = -1"),
        ({"validation__recall_at_10": 1.01}, "'validation.recall@10' = 1.01"),
        ({"share": [0.5]}, "'share' = [0.5]"),
        ({"share": 7.0}, "'share' = 7.0 was not offered"),
        ({"loss": 1e300}, "beyond 1e+06"),
    ],
)
def test_a_number_that_cannot_be_is_refused(change: dict, said: str) -> None:
    with pytest.raises(MessageError) as caught:
        TrainReport.from_record(report_record(**change))
    assert said in str(caught.value)


@pytest.mark.parametrize("missing", ["arrays", "metrics", "config"])
def test_a_missing_record_is_named(missing: str) -> None:
    record = report_record()
    del record[missing]
    with pytest.raises(MessageError, match=missing):
        TrainReport.from_record(record)


@pytest.mark.parametrize("name", ["shop/a", "../shop", "shop@0.5", "pool", ""])
def test_a_client_whose_name_could_be_mistaken_is_refused(name: str) -> None:
    roster = Roster("app", True, (ClientFacts(name, "set", "f", "d", 3, 4, 5, 2, True, "leave-last-out"),))
    with pytest.raises(MessageError, match="clients"):
        Roster.from_record(roster.to_record())


def test_a_roster_that_is_no_list_of_facts_is_refused() -> None:
    record = RecordDict({"config": ConfigRecord({"app": "a", "simulated": True, "clients": ['{"client": 1}']})})
    with pytest.raises(MessageError, match="'client' = 1"):
        Roster.from_record(record)


@pytest.mark.parametrize(
    ("adapter", "said"),
    [
        ({"a": ADAPTER["a"]}, "'b' is missing"),
        ({**ADAPTER, "c": torch.ones(1)}, "'c' is unknown"),
        ({**ADAPTER, "b": torch.ones(5)}, "shape (5,), not (4,)"),
        ({**ADAPTER, "b": torch.tensor([1.0, float("inf"), 0, 0])}, "not finite"),
        ({**ADAPTER, "b": torch.ones(4, dtype=torch.float64)}, "torch.float64, not torch.float32"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused(adapter: dict, said: str) -> None:
    with pytest.raises(MessageError) as caught:
        check_adapter(adapter, ADAPTER, "client 'c'")
    assert said in str(caught.value) and "client 'c'" in str(caught.value)


def test_metrics_that_are_no_metric_record_are_refused() -> None:
    record = report_record()
    record["metrics"] = MetricRecord({"loss": 1.0})
    with pytest.raises(MessageError, match="num-examples"):
        TrainReport.from_record(record)
