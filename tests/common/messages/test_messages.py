"""common/messages: what is written is read back the same; what is wrong is named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from flwr.app import ConfigRecord, MetricRecord, RecordDict

from common.errors import MessageError
from common.evaluation.click_counts import count
from common.evaluation.rankings import METRICS
from common.messages import (
    COST,
    Clicks,
    ClientFacts,
    Hello,
    HostedAccess,
    Rankings,
    Report,
    Roster,
    SetFacts,
    Task,
    check_adapter,
    message_bytes,
)
from common.messages.adapter import odd_values
from common.messages.measurement import joined

ADAPTER = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(4)}
SET = SetFacts("set", "f" * 64, 4, True, "leave-last-out")
FACTS = ClientFacts("c", SET, "d" * 64, 3, 5, 2, 1, 1, 0, (1, 0))


def rankings(*clients: str, users: int = 5) -> Rankings:
    columns = {name: tuple(place / 10 for _ in clients) for place, name in enumerate(METRICS)}
    return Rankings(clients, columns | {"users": (users,) * len(clients)})


def clicks(*clients: str, seed: int = 0) -> Clicks:
    draw = np.random.default_rng(seed)
    counts = count(draw.integers(2, size=20), draw.normal(size=20), draw.integers(3, size=20), 3)
    columns = {name: tuple(0.5 for _ in clients) for name in Clicks.RANGES} | {"rows": (7,) * len(clients)}
    return Clicks(clients, columns, counts, (3,))


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def stacked(clients: int) -> dict[str, torch.Tensor]:
    return {name: torch.stack([tensor + place for place in range(clients)]) for name, tensor in ADAPTER.items()}


def report(clients: tuple[str, ...] = ("c", "d"), **changes: object) -> Report:
    n = len(clients)
    known = Report(
        2,
        clients,
        stacked(n),
        [64.0] * n,
        [1.5] * n,
        [],
        [3] * n,
        {"up": [5.0] * n, "down": [6.0] * n},
        clients,
        [0.5] * n,
        {"validation": rankings(*clients)},
        {},
        {"x": "privacy budget"},
        {"train": 3.0, "evaluate": 1.0},
        {"peak": 7, "limit": 9},
    )
    return replace(known, **changes)


@pytest.mark.parametrize("clients", [1, 3])
def test_a_task_of_one_client_or_of_many(clients: int) -> None:
    names = tuple(f"shop-{place}" for place in range(clients))
    task = Task(
        "app",
        "run",
        3,
        names,
        ADAPTER,
        {"t": torch.ones(2, 5)},
        {"age": [0, 4]},
        stacked(clients),
        stacked(clients),
        (0.25,) * clients,
        (0,) * clients,
        {name: HostedAccess("host:1", {0.0: f"{name}-mix", 0.5: f"{name}-half"}) for name in names},
    )
    read = Task.from_record(task.to_record())
    assert (read.app, read.run, read.round, read.clients, read.paces) == ("app", "run", 3, names, (0.25,) * clients)
    assert same(read.shared, ADAPTER) and same(read.tables, task.tables) and read.codes == {"age": (0, 4)}
    assert same(read.personal, task.personal) and same(read.own, task.own) and read.access == task.access


def test_a_task_whose_tensors_are_of_other_clients_is_refused() -> None:
    task = Task("app", "run", 3, ("a", "b"), personal=stacked(3), paces=(1.0, 1.0), contributed=(0, 0))
    with pytest.raises(MessageError, match="for 2 clients"):
        Task.from_record(task.to_record())


def test_a_report_of_rankings() -> None:
    read = Report.from_record(report().to_record(), Rankings)
    assert same(read.contribution, stacked(2)) and read.clients == read.measured == ("c", "d")
    assert (read.round, read.losses, read.sizes, read.shares) == (2, (1.5, 1.5), (64.0, 64.0), (0.5, 0.5))
    assert read.hosted_steps == (3, 3) and read.traffic == {"up": (5.0, 5.0), "down": (6.0, 6.0)}
    assert read.measurements["validation"].rows() == rankings("c", "d").rows() and read.left_out == {
        "x": "privacy budget"
    }
    assert read.seconds == report().seconds and read.memory == {"peak": 7, "limit": 9}


def test_a_report_of_clicks_with_counts() -> None:
    sent = report(measurements={"validation": clicks("c", "d"), "test": clicks("c", "d", seed=1)})
    read = Report.from_record(sent.to_record(), Clicks, (3,))
    for part, measurement in sent.measurements.items():
        assert (read.measurements[part].counts.rows == measurement.counts.rows).all()
        assert read.measurements[part].means() == measurement.means()
    with pytest.raises(MessageError, match="than 2 groups give"):
        Report.from_record(sent.to_record(), Clicks, (2,))


def test_a_report_of_the_end() -> None:
    sent = Report(
        2,
        measured=("c",),
        shares=[0.0],
        measurements={"test": rankings("c")},
        details={"evidence": {"popularity": [1.0]}, "cost": {name: [7.0] for name in COST}},
    )
    read = Report.from_record(sent.to_record(), Rankings)
    assert read.details["cost"] == dict.fromkeys(COST, (7.0,)) and read.details["evidence"] == {"popularity": (1.0,)}
    assert not read.contribution and not read.clients


def test_rankings_of_many_are_means_over_all_their_users() -> None:
    one, other = rankings("b", users=3), rankings("a", users=1)
    other = replace(other, columns=dict.fromkeys(METRICS, (1.0,)) | {"users": (1,)})
    both = joined([{"test": one}, {"test": other}])["test"]
    assert both.clients == ("a", "b") and both.sizes() == {"a": 1, "b": 3}
    assert both.means()["recall@20"] == pytest.approx((1.0 + 3 * one.of("b")["recall@20"]) / 4)
    assert both.primary() == {"a": 1.0, "b": 0.0} and rankings("z", users=0).means() == {}


def test_clicks_of_many_add_their_rows_up() -> None:
    one, other = clicks("b"), clicks("a", seed=1)
    both = Clicks.joined([one, other])
    assert (both.counts.rows == one.counts.rows + other.counts.rows).all() and both.means()["rows"] == 40


def test_roster_and_hello() -> None:
    roster = Roster("app", True, (FACTS, replace(FACTS, client="e", digest="9" * 64, groups=(0, 2))))
    assert Roster.from_record(roster.to_record()) == roster
    assert Hello.from_record(Hello("app").to_record()) == Hello("app")


def test_what_clients_have_in_common_travels_once() -> None:
    many = Roster("app", True, tuple(replace(FACTS, client=f"c{place}") for place in range(1000)))
    assert message_bytes(many.to_record()) < 1000 * 100


def test_bytes_are_of_every_tensor_text_and_number() -> None:
    task = Task("a", "r", 1, ("c",), ADAPTER, paces=(1.0,), contributed=(0,))
    with_own = replace(task, own=stacked(1))
    alone, both = (message_bytes(one.to_record()) for one in (task, with_own))
    fields = len("app" + "a" + "run" + "r" + "clients" + "c" + "server-round" + "paces" + "contributed") + 3 * 8
    assert alone - fields >= (6 + 4) * 4 and both - alone >= (6 + 4) * 4


def changed(**changes: object) -> RecordDict:
    record = report(("c",)).to_record()
    for key, value in changes.items():
        record["metrics"][key.replace("__", ".").replace("_at_", "@").replace("_", "-")] = value
    return record


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"losses": [float("nan")]}, "'losses' holds what is no finite number"),
        ({"sizes": [-1.0]}, "'sizes' holds -1.0"),
        ({"hosted_steps": [1.5]}, "'hosted-steps' holds 1.5, which is no count"),
        ({"validation__recall_at_10": [1.01]}, "'validation.recall@10' holds 1.01"),
        ({"validation__users": [1.5]}, "'validation.users' holds 1.5, which is no count"),
        ({"shares": 0.5}, "'shares' is not one number for each of 1 clients"),
        ({"shares": [0.25]}, "'shares' holds 0.25, which was not offered"),
        ({"losses": [1e300]}, "not within 0 and 1e+06"),
        ({"traffic__sideways": [1.0]}, "'traffic.sideways' is unknown"),
    ],
)
def test_a_number_that_cannot_be_is_refused(change: dict, said: str) -> None:
    with pytest.raises(MessageError) as caught:
        Report.from_record(changed(**change), Rankings)
    assert said in str(caught.value)


@pytest.mark.parametrize("missing", ["arrays", "metrics", "config"])
def test_a_missing_record_is_named(missing: str) -> None:
    record = changed()
    del record[missing]
    with pytest.raises(MessageError, match=missing):
        Report.from_record(record, Rankings)


@pytest.mark.parametrize("name", ["shop/a", "../shop", "shop@0.5", "pool", ""])
def test_a_client_whose_name_could_be_mistaken_is_refused(name: str) -> None:
    roster = Roster("app", True, (replace(FACTS, client=name),))
    with pytest.raises(MessageError, match="clients"):
        Roster.from_record(roster.to_record())


def test_a_roster_without_its_columns_is_refused() -> None:
    record = RecordDict({"config": ConfigRecord({"app": "a", "simulated": True, "clients": ["x"]})})
    with pytest.raises(MessageError, match="'set.dataset' is no list"):
        Roster.from_record(record)


@pytest.mark.parametrize(
    ("adapter", "said"),
    [
        ({"a": ADAPTER["a"]}, "'b' is missing"),
        ({**ADAPTER, "c": torch.ones(1)}, "'c' is unknown"),
        ({**ADAPTER, "b": torch.ones(5)}, "shape (5,), not (4,)"),
        ({**ADAPTER, "b": torch.ones(4, dtype=torch.float64)}, "torch.float64, not torch.float32"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused(adapter: dict, said: str) -> None:
    with pytest.raises(MessageError) as caught:
        check_adapter(adapter, ADAPTER, "client 'c'")
    assert said in str(caught.value) and "client 'c'" in str(caught.value)
    check_adapter(stacked(2), ADAPTER, "node", 2)
    with pytest.raises(MessageError, match=r"shape \(2, 2, 3\), not \(3, 2, 3\)"):
        check_adapter(stacked(2), ADAPTER, "node", 3)


@pytest.mark.parametrize(("value", "said"), [(float("inf"), "not finite"), (2e8, "beyond 1e+08")])
def test_values_that_cannot_be_are_found_by_client(value: float, said: str) -> None:
    spoilt = stacked(3)
    spoilt["b"][1, 2] = value
    found = odd_values(spoilt)
    assert found.keys() == {1} and "'b'" in found[1] and said.rstrip(".") in found[1] and odd_values(stacked(3)) == {}


def test_metrics_that_are_no_metric_record_are_refused() -> None:
    record = changed()
    record["metrics"] = MetricRecord({"losses": [1.0]})
    with pytest.raises(MessageError, match="is not one number for each of 1 clients"):
        Report.from_record(record, Rankings)
