"""Whatever one client sends, the run goes on without it, by name; and the others are as if it had stayed silent."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from flwr.app import ArrayRecord, Message, RecordDict
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.events import read_lines
from common.run_folder import RunFolder
from tests.clicks import click_settings
from tests.federation import MANY, InProcessGrid, federate, silent, tiny_settings

HOSTILE = "toy-1"


def result(home: Path, run: str = "latest") -> dict:
    return RunFolder.find(run, str(home)).result()


def rejected(home: Path, run: str = "latest") -> list[dict]:
    return [e for e in read_lines(RunFolder.find(run, str(home)).events_path) if e["event"] in ("rejected", "refused")]


def claim(name: str, value: object):
    """A fault: one field of the report says something else."""

    def fault(reply: Message) -> Message:
        texts = isinstance(value, str) or (isinstance(value, list) and isinstance(value[0], str))
        (reply.content["config"] if texts else reply.content["metrics"])[name] = value
        return reply

    return fault


def in_training(fault):
    """The fault, of training replies alone."""
    return lambda reply: fault(reply) if reply.metadata.message_type == "train" else reply


def sends(change):
    """A fault: every tensor is changed."""

    def fault(reply: Message) -> Message:
        if reply.content.array_records.get("arrays"):
            sent = reply.content["arrays"].to_torch_state_dict()
            reply.content["arrays"] = ArrayRecord({name: change(tensor) for name, tensor in sent.items()})
        return reply

    return fault


TRAINING = [
    (claim("sizes", [10**15]), "not within"),
    (claim("sizes", [1e300]), "not within"),
    (claim("sizes", [9]), "not within 1 and 8"),
    (claim("validation.users", [2**62]), "'validation.users'"),
    (claim("losses", [-3.0]), "not within 0"),
    (claim("seconds.train", 1e300), "beyond"),
    (claim("seconds.evaluate", -1.0), "below 0"),
    (claim("seconds.\x1b[2J", 1.0), "is unknown"),
    (claim("traffic.up", [1e18]), "not within"),
    (claim("memory.peak", float("nan")), "no finite number"),
    (claim("shares", [0.5] * 100_000), "not one number for each of 1 clients"),
    (sends(lambda tensor: torch.full_like(tensor, 1e30)), "beyond 1e+08"),
    (sends(lambda tensor: tensor * 1e4), "times the others' median"),
]


@pytest.mark.parametrize(("fault", "said"), TRAINING)
def test_a_report_out_of_its_range_costs_its_client_the_round(fellrec_home: Path, fault, said: str) -> None:
    federate(tiny_settings(fellrec_home, num_server_rounds=1), faults={(HOSTILE, 1): in_training(fault)})
    (found,) = rejected(fellrec_home)
    assert found["clients"] == [HOSTILE] and said in found["reason"] and len(found["reason"]) < 500
    assert result(fellrec_home)["rounds"][0]["clients_ok"] == 2


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (claim("test.users", [2**62]), "'test.users'"),
        (claim("test.users", [10**5]), "joined with so many"),
        (claim("evidence.popularity", [1e9]), "not within"),
        (claim("cost.parameters", [-1]), "not within"),
        (claim("generation.exact", [2.0]), "not within 0 and 1"),
    ],
)
def test_a_measurement_out_of_its_range_is_left_out_of_the_result(fellrec_home: Path, fault, said: str) -> None:
    def at_the_end(reply: Message) -> Message:
        return fault(reply) if reply.metadata.message_type == "evaluate" else reply

    federate(tiny_settings(fellrec_home, num_server_rounds=1), faults={(HOSTILE, 1): at_the_end})
    assert set(result(fellrec_home)["metrics"]["missing"]) == {HOSTILE} and said in rejected(fellrec_home)[0]["reason"]


@pytest.mark.parametrize("strategy", ["fellrec", "fedavg"])
@pytest.mark.parametrize("split", [False, True])
def test_a_large_update_leaves_no_trace_in_the_others(fellrec_home: Path, strategy: str, split: bool) -> None:
    """Under the split the hosted part was trained on the server; the client's own part gives it away."""
    chosen = {"strategy__name": strategy, "split__on": split, "federation__timeout": 4.0, "model__lora_rank": 2}
    faults = {"large": sends(lambda tensor: tensor * 1e4), "silent": silent}
    for name, fault in faults.items():
        federate(tiny_settings(fellrec_home, run_name=name, **chosen), faults={(HOSTILE, n): fault for n in (1, 2)})
    for client in ("toy-0", "toy-2"):
        one, other = (RunFolder.find(name, str(fellrec_home)).load_adapter(client) for name in faults)
        assert all(torch.equal(one[tensor], other[tensor]) for tensor in one)
    assert [found["code"] for found in rejected(fellrec_home, "large")][:2] == ["FR450", "FR450"]


def test_a_hosted_part_that_is_out_of_proportion_falls_under_the_same_guard(
    fellrec_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from server_app.hosting import Hosting

    commit = Hosting.commit

    def grown(self, client, round_number, share, steps):
        hosted = commit(self, client, round_number, share, steps)
        return {name: tensor + 100.0 for name, tensor in hosted.items()} if client == HOSTILE else hosted

    monkeypatch.setattr(Hosting, "commit", grown)
    federate(tiny_settings(fellrec_home, split__on=True, num_server_rounds=1))
    (found,) = rejected(fellrec_home)
    assert found["clients"] == [HOSTILE] and found["code"] == "FR450"


def test_without_the_guard_the_same_update_is_mixed(fellrec_home: Path) -> None:
    fault = sends(lambda tensor: tensor * 1e4)
    federate(tiny_settings(fellrec_home, num_server_rounds=1, guard__on=False), faults={(HOSTILE, 1): fault})
    assert not rejected(fellrec_home) and result(fellrec_home)["rounds"][0]["clients_ok"] == 3


def test_under_local_training_nobody_is_guarded_since_nothing_is_mixed(fellrec_home: Path) -> None:
    fault = sends(lambda tensor: tensor * 1e4)
    federate(tiny_settings(fellrec_home, strategy__name="local", num_server_rounds=1), faults={(HOSTILE, 1): fault})
    assert not rejected(fellrec_home)


class Roll(InProcessGrid):
    """Nodes of one client each, of which the second says something else when it joins."""

    def __init__(self, settings, nodes, faults, change) -> None:  # noqa: ANN001
        super().__init__(settings, nodes, faults)
        self._change = change

    def _answer(self, message: Message) -> Message | None:
        reply = super()._answer(message)
        if message.metadata.message_type == "query" and message.metadata.dst_node_id == 102:
            self._change(reply.content["config"])
        return reply


def column(**changes: object):
    def change(config) -> None:  # noqa: ANN001
        for key, value in changes.items():
            config[key.replace("__", ".").replace("of_set", "of-set")] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        column(set__dataset=["\ud800"]),
        column(set__dataset=["x" * 300]),
        column(set__dataset=["\x1b[31mred"]),
        column(users=[-1]),
        column(users=[2**62]),
        column(users=[1.5]),
        column(set__items=[-3]),
        column(train_interactions=[10**9]),
        column(set__split=["\u202e"]),
        column(test_users=[2**40]),
        column(met_before=[10**6]),
        column(clients=[1]),
        column(clients="text"),
        column(clients=["a", "b"]),
        column(clients=["toy-1", "toy-1"]),
        column(of_set=[7]),
        column(users=[]),
        column(digests=[1]),
    ],
)
def test_a_node_that_joins_with_nonsense_is_refused_and_the_others_train(fellrec_home: Path, change) -> None:
    federate(tiny_settings(fellrec_home, num_server_rounds=1), 3, grid=lambda *given: Roll(*given, change))
    (found,) = rejected(fellrec_home)
    assert found["event"] == "refused" and found["node"] == "102" and len(found["reason"]) < 500
    assert result(fellrec_home)["run"]["clients"] == 2
    found["reason"].encode()


def several(config) -> None:  # noqa: ANN001
    """Its own row under six names."""
    config["simulated"] = False
    for key in config:
        if isinstance(config[key], list) and not key.startswith(("set.", "digests")):
            config[key] = config[key] * 6
    config["clients"] = [f"ghost-{number}" for number in range(6)]


class Real(Roll):
    """As :class:`Roll`, with nodes that are real but for what the second one says."""

    def _answer(self, message: Message) -> Message | None:
        reply = super(Roll, self)._answer(message)
        if message.metadata.message_type == "query":
            reply.content["config"]["simulated"] = False
            if message.metadata.dst_node_id == self.liar:
                self._change(reply.content["config"])
        return reply


@pytest.mark.parametrize("liar", [101, 102])
@pytest.mark.parametrize("simulated", [False, True])
def test_a_real_node_has_one_vote_whatever_it_calls_itself(fellrec_home: Path, liar: int, simulated: bool) -> None:
    def change(config) -> None:  # noqa: ANN001
        several(config)
        config["simulated"] = simulated

    def made(*given) -> Real:  # noqa: ANN002
        grid = Real(*given, change)
        grid.liar = liar
        return grid

    federate(tiny_settings(fellrec_home, num_server_rounds=1), 3, grid=made)
    found = result(fellrec_home)
    assert found["run"]["mode"] == "deployment" and found["run"]["clients"] == 2
    assert [event["node"] for event in rejected(fellrec_home)] == [str(liar)]


@pytest.mark.parametrize("strategy", ["fedavg", "fellrec"])
def test_an_own_share_that_was_not_offered_is_refused(fellrec_home: Path, strategy: str) -> None:
    """The guard would measure from where the client claims to have begun. In round 1 nobody has an own adapter yet."""
    fault = in_training(claim("shares", [1.0]))
    settings = tiny_settings(fellrec_home, num_server_rounds=1, strategy__name=strategy)
    federate(settings, faults={(HOSTILE, 1): fault})
    (found,) = rejected(fellrec_home)
    assert found["clients"] == [HOSTILE] and "'shares' holds 1.0, which was not offered" in found["reason"]


NUMBERS = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.lists(st.integers(-3, 3), max_size=3),
    st.lists(st.floats(), max_size=3),
)


@pytest.fixture(scope="module")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@given(data=st.data())
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_report_of_any_kind_ends_a_run_or_moves_what_others_measure(shared_home: Path, data: st.DataObject) -> None:
    """Fields of a true report replaced, taken away and added at random, in training and at the end."""

    def fault(reply: Message) -> Message:
        metrics = reply.content.metric_records["metrics"]
        for name in data.draw(st.lists(st.sampled_from(sorted(metrics)), max_size=3), label="fields"):
            metrics[name] = data.draw(NUMBERS, label=name)
        if data.draw(st.booleans(), label="removed"):
            del metrics[data.draw(st.sampled_from(sorted(metrics)))]
        if data.draw(st.booleans(), label="tensors") and "arrays" in reply.content.array_records:
            reply.content["arrays"] = ArrayRecord({"x": torch.zeros(data.draw(st.integers(0, 3)))})
        if data.draw(st.booleans(), label="empty"):
            reply.content = RecordDict()
        return reply

    name = f"fuzzed-{len(list(shared_home.glob('runs/fuzzed-*')))}"
    federate(tiny_settings(shared_home, num_server_rounds=1, run_name=name), faults={(HOSTILE, 1): fault})
    found = result(shared_home, name)["metrics"]
    assert {"toy-0", "toy-2"} <= set(found["clients"])
    assert all(math.isfinite(value) and 0 <= value <= 1 for value in found["test"].values())


CROWD = [
    (claim("sizes", [1e6] * 6), "not within 1 and"),
    (claim("sizes", [-1.0] * 6), "not within"),
    (claim("losses", [1e300] * 6), "not within"),
    (claim("epsilons", [1e300] * 6), "not within"),
    (claim("validation.rows", [10**9] * 6), "joined with so many"),
    (claim("validation.recall", [2.0] * 6), "not within"),
    (claim("memory.peak", 2**62), "beyond"),
    (claim("parts", ["validation", "validation"]), "'parts'"),
    (sends(lambda tensor: torch.full_like(tensor, 1e30)), "beyond 1e+08"),
]


@pytest.mark.parametrize(("fault", "said"), CROWD)
def test_a_node_of_many_is_held_to_what_it_joined_with(fellrec_home: Path, fault, said: str) -> None:
    spoilt: list[int] = []

    def once(reply: Message) -> Message:
        if reply.metadata.message_type != "train" or spoilt:
            return reply
        spoilt.append(1)
        return fault(reply)

    federate(click_settings(fellrec_home, num_server_rounds=1, federation__quorum=0.1), faults={(MANY, 1): once})
    found = rejected(fellrec_home)
    assert found and all(said in one["reason"] and len(one["reason"]) < 500 for one in found)
    assert result(fellrec_home)["rounds"][0]["clients_ok"] == 6


def test_one_persons_gradient_out_of_proportion_is_left_out_by_name(fellrec_home: Path) -> None:
    def large(reply: Message) -> Message:
        if reply.metadata.message_type == "train":
            sent = reply.content["arrays"].to_torch_state_dict()
            for tensor in sent.values():
                tensor[0] *= 1e5
            reply.content["arrays"] = ArrayRecord(sent)
        return reply

    federate(click_settings(fellrec_home, num_server_rounds=1), 1, faults={(MANY, 1): large})
    (found,) = rejected(fellrec_home)
    assert found["code"] == "FR450" and len(found["clients"]) == 1
    assert result(fellrec_home)["rounds"][0]["clients_ok"] == 11


def test_a_size_that_would_outweigh_all_others_is_capped_and_told(fellrec_home: Path) -> None:
    def joins_as_large(config) -> None:  # noqa: ANN001
        config["interactions"] = config["train_interactions"] = [10**9]

    chosen = tiny_settings(fellrec_home, num_server_rounds=1, train__examples=0, strategy__name="fedavg")
    faults = {(HOSTILE, 1): in_training(claim("sizes", [10**9]))}
    federate(chosen, 3, grid=lambda settings, nodes, _: Roll(settings, nodes, faults, joins_as_large))
    log = read_lines(RunFolder.find("latest", str(fellrec_home)).events_path)
    (told,) = [event for event in log if event["event"] == "warning" and event["kind"] == "size"]
    assert told["client"] == HOSTILE and "they count as" in told["reason"]
    (mixed,) = [
        event
        for event in read_lines(RunFolder.find("latest", str(fellrec_home)).events_path)
        if event["event"] == "round_ended"
    ]
    assert mixed["weights"]["toy-0"][HOSTILE] == pytest.approx(0.6)
