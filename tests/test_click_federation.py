"""A click model's run, round by round in one process: real apps, real messages, every private user a client."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from flwr.app import ArrayRecord, Message

from common.config import from_flat
from common.errors import ConfigError, FellrecError, ModelError, RunError
from common.events import read_lines
from common.messages import message_bytes
from common.privacy.budget import accountant
from common.recommenders.click.run import click_run
from common.run_folder import RunFolder
from common.scopes import Scope
from tests.clicks import click_settings, tiny_log
from tests.federation import MANY, InProcessGrid, broken, federate, silent

CLIENTS = 12


def result(home: Path, run: str = "latest") -> dict:
    return RunFolder.find(run, str(home)).result()


def events(home: Path, kind: str, run: str = "latest") -> list[dict]:
    return [event for event in read_lines(RunFolder.find(run, str(home)).events_path) if event["event"] == kind]


def server_tensors(home: Path, run: str) -> dict[str, torch.Tensor]:
    return RunFolder.find(run, str(home)).last_checkpoint()[1]


def private(home: Path, run: str) -> dict[str, bytes]:
    found = (home / "clients" / run).glob("*/private-*.safetensors")
    return {f"{path.parent.name}/{path.name}": path.read_bytes() for path in found}


@pytest.mark.parametrize("strategy", ["fedpa", "fedavg", "local"])
def test_every_strategy_runs_to_a_complete_result(fellrec_home: Path, strategy: str) -> None:
    federate(click_settings(fellrec_home, strategy__name=strategy))
    found = result(fellrec_home)
    assert found["run"]["strategy"] == strategy and found["run"]["clients"] == CLIENTS
    test = found["metrics"]["test"]
    assert {"auc", "user_auc", "logloss", "precision", "recall", "f1"} <= test.keys() and test["rows"] == CLIENTS * 4
    assert found["metrics"]["baselines"]["warm_start"]["rows"] == test["rows"]
    assert len(found["metrics"]["clients"]) == CLIENTS and not found["metrics"]["missing"]
    assert [record["clients_ok"] for record in found["rounds"]] == [CLIENTS, CLIENTS]
    assert all(record["auc"] is not None for record in found["rounds"])
    for attribute, groups in found["metrics"]["groups"].items():
        assert sum(metrics["rows"] for metrics in groups.values()) == CLIENTS * 4, attribute
    assert found["data"]["repeated"] == 0
    assert found["data"]["division"] == {"open_share": 0.25, "seed": 0, "open_users": 4}
    assert (found["cost"]["client"]["uploaded_parameters"] == 0) == (strategy == "local")


def test_many_rounds_learn_what_the_warm_start_does_not_know(fellrec_home: Path) -> None:
    federate(
        click_settings(
            fellrec_home,
            num_server_rounds=15,
            fedpa__shared_learning_rate=0.05,
            fedpa__group_learning_rate=0.05,
            fedpa__private_learning_rate=0.1,
        )
    )
    found = result(fellrec_home)["rounds"]
    assert found[-1]["loss"] < found[0]["loss"] - 0.05


class Tap(InProcessGrid):
    """Keeps every reply beside every message."""

    def __init__(self, *arguments) -> None:
        super().__init__(*arguments)
        self.replies: list[Message] = []

    def _answer(self, message: Message) -> Message | None:
        reply = super()._answer(message)
        self.replies.append(reply)
        return reply


@pytest.mark.parametrize("nodes", [2, CLIENTS])
def test_the_names_on_the_wire_are_the_allow_list_in_every_message(
    fellrec_home: Path, nodes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.federation.InProcessGrid", Tap)
    settings = click_settings(fellrec_home)
    grid = federate(settings, nodes)
    click = click_run(from_flat(settings))
    allowed = {name for name, scope in click.scopes.items() if scope.may_leave}
    assert allowed and all(click.scopes[name] in (Scope.SHARED, Scope.GROUP) for name in allowed)
    assert not any("user" in name for name in allowed)
    tasks = [message for message in grid.sent if message.metadata.message_type != "query"]
    assert len(tasks) == nodes * 3
    for message in tasks:
        assert {name for record in message.content.array_records.values() for name in record} == allowed
    uploads = 0
    for reply in grid.replies:
        names = {f"{key}/{name}" for key, arrays in reply.content.array_records.items() for name in arrays}
        sent = {name.removeprefix("arrays/") for name in names if name.startswith("arrays/")}
        kind = reply.metadata.message_type
        assert sent == {"train": allowed, "evaluate": set(), "query": set()}[kind]
        assert {name.rpartition(".")[2] for name in names if name.startswith("counts/")} <= {"places", "rows", "loss"}
        uploads += kind == "train"
    assert uploads == nodes * 2


def test_nothing_that_was_trained_leaves_a_client_under_local(fellrec_home: Path) -> None:
    grid = federate(click_settings(fellrec_home, strategy__name="local"))
    assert all(not message.content.array_records.get("arrays") for message in grid.sent)


@pytest.mark.parametrize("switch", ["user_adapter", "group_adapters", "gate"])
def test_each_part_can_be_switched_off(fellrec_home: Path, switch: str) -> None:
    settings = click_settings(fellrec_home, **{f"fedpa__{switch}": False})
    part = {"user_adapter": ".user.", "group_adapters": ".groups.", "gate": ".gate."}[switch]
    assert not any(part in name for name in click_run(from_flat(settings)).scopes)
    federate(settings)
    assert result(fellrec_home)["rounds"][-1]["clients_ok"] == CLIENTS


def test_a_resumed_run_gives_the_numbers_of_the_unbroken_one(fellrec_home: Path) -> None:
    for run, rounds, resume in (("whole", 4, False), ("half", 2, False), ("half", 4, True)):
        federate(click_settings(fellrec_home, run_name=run, num_server_rounds=rounds, resume=resume))
    unbroken, resumed = server_tensors(fellrec_home, "whole"), server_tensors(fellrec_home, "half")
    assert unbroken.keys() == resumed.keys() and any(name.startswith("rule-") for name in unbroken)
    assert all(torch.equal(unbroken[name], resumed[name]) for name in unbroken)
    assert private(fellrec_home, "whole") == private(fellrec_home, "half")
    assert result(fellrec_home, "whole")["metrics"] == result(fellrec_home, "half")["metrics"]


def test_a_run_that_broke_before_its_checkpoint_goes_on_from_the_round_before(fellrec_home: Path) -> None:
    federate(click_settings(fellrec_home, run_name="whole", num_server_rounds=3))
    federate(click_settings(fellrec_home, run_name="broken", num_server_rounds=3))
    checkpoints = RunFolder.find("broken", str(fellrec_home)).path / "checkpoints"
    for file in (checkpoints / "round-0003").iterdir():
        file.unlink()
    (checkpoints / "round-0003").rmdir()
    federate(click_settings(fellrec_home, run_name="broken", num_server_rounds=3, resume=True))
    assert result(fellrec_home, "whole")["metrics"] == result(fellrec_home, "broken")["metrics"]


def test_the_number_of_nodes_changes_nothing_but_rounding(fellrec_home: Path) -> None:
    for nodes in (1, 5):
        federate(click_settings(fellrec_home, run_name=f"n{nodes}"), nodes)
    one, five = server_tensors(fellrec_home, "n1"), server_tensors(fellrec_home, "n5")
    for name in (name for name in one if not name.startswith("rule-")):
        torch.testing.assert_close(one[name], five[name], rtol=1e-3, atol=1e-4)


def poison(reply: Message) -> Message:
    arrays = reply.content.array_records["arrays"].to_torch_state_dict()
    next(iter(arrays.values()))[0] = float("nan")
    reply.content["arrays"] = ArrayRecord(arrays)
    return reply


@pytest.mark.parametrize(
    ("fault", "lost", "reason"), [(broken, 6, "boom"), (silent, 6, "no reply"), (poison, 1, "not finite")]
)
def test_what_is_wrong_with_an_answer_costs_its_own_clients_the_round(
    fellrec_home: Path, fault, lost: int, reason: str
) -> None:
    settings = click_settings(fellrec_home, federation__timeout=1.0, federation__quorum=0.5)
    spoilt: list[int] = []

    def once(reply: Message) -> Message | None:
        if reply.metadata.message_type != "train" or spoilt:
            return reply
        spoilt.append(1)
        return fault(reply)

    federate(settings, faults={(MANY, 1): once})
    first, second = result(fellrec_home)["rounds"]
    assert first["clients_ok"] == CLIENTS - lost and second["clients_ok"] == CLIENTS
    (rejected,) = events(fellrec_home, "rejected")
    assert reason in rejected["reason"] and len(rejected["clients"]) == lost


def test_below_the_quorum_a_round_is_void_and_two_end_the_run(fellrec_home: Path) -> None:
    with pytest.raises(RunError, match="rounds 1 to 2"):
        federate(click_settings(fellrec_home), faults={(MANY, 1): broken, (MANY, 2): broken})


@pytest.mark.parametrize("mechanism", ["laplace", "gaussian"])
def test_noise_is_charged_for_over_rounds_and_told(fellrec_home: Path, mechanism: str) -> None:
    settings = {"privacy__mechanism": mechanism, "privacy__epsilon": 3.0, "run_name": "noisy"}
    federate(click_settings(fellrec_home, **settings))
    found = result(fellrec_home)
    assert found["privacy"]["mechanism"] == mechanism
    assert found["privacy"]["epsilon"] == pytest.approx(3.0, rel=1e-6) and found["privacy"]["epsilon"] <= 3.0 * (
        1 + 1e-9
    )
    assert found["privacy"]["delta"] == (1e-5 if mechanism == "gaussian" else 0.0)
    assert all(record["loss"] is None for record in found["rounds"])


def test_a_budget_that_is_used_up_leaves_clients_out_by_name_also_after_a_resume(fellrec_home: Path) -> None:
    noisy = {"privacy__mechanism": "laplace", "privacy__epsilon": 4.0, "run_name": "noisy", "num_server_rounds": 2}
    federate(click_settings(fellrec_home, **noisy))
    with pytest.raises(RunError, match="fewer clients than the quorum"):
        federate(click_settings(fellrec_home, **noisy | {"resume": True, "num_server_rounds": 4}))
    refused = events(fellrec_home, "rejected", "noisy")
    assert {event["reason"] for event in refused} == {"privacy budget"} and len(refused) == 2 * CLIENTS
    accounts = list((fellrec_home / "clients" / "noisy").glob("*/account.json"))
    assert len(accounts) == CLIENTS and all('"releases": 2' in path.read_text() for path in accounts)


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        ({"click__division": 1}, "division"),
        ({"click__open_share": 0.5}, "division"),
    ],
)
def test_a_warm_start_of_another_division_is_refused(fellrec_home: Path, overrides: dict, reason: str) -> None:
    with pytest.raises(RunError, match="no node hosts a client"):
        federate(click_settings(fellrec_home, federation__nodes_timeout=0.5, **overrides))
    assert all(reason in event["reason"] for event in events(fellrec_home, "refused"))


def test_a_warm_start_of_another_log_is_refused(fellrec_home: Path) -> None:
    settings = click_settings(fellrec_home)
    base = click_run(from_flat(settings)).base
    other = tiny_log("toy", seed=1)
    base.check(other, ())
    with pytest.raises(ModelError, match="digest"):
        base.check_division(other, 0.25, 0)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"click__group_by": "height"}, "'height'"),
        ({"fedpa__gate_width": "1,2,3"}, "3 widths"),
        ({"fedpa__gate_width": "x"}, "no list of widths"),
        ({"split__on": True}, "no layers to host"),
        ({"strategy__name": "krum"}, "'krum' does not go with"),
        ({"data__sets": "toy:3"}, "name the log alone"),
        ({"model__name": "embedded"}, "fellrec pretrain"),
        ({"strategy__name": "local", "privacy__mechanism": "laplace"}, "nothing leaves"),
        ({"fedpa__user_adapter": False, "fedpa__group_adapters": False}, "leave no adapter"),
        ({"model__recommender": "encoder"}, "has no paths for user and groups"),
    ],
)
def test_settings_that_do_not_fit_are_refused_by_name(fellrec_home: Path, overrides: dict, said: str) -> None:
    with pytest.raises(FellrecError, match=said) as caught:
        federate(click_settings(fellrec_home, **overrides))
    assert isinstance(caught.value, ConfigError)


def accounts(home: Path, run: str) -> list[float]:
    """What each client's own account says, read from its folder."""
    config = from_flat(click_settings(home, privacy__mechanism="laplace", privacy__epsilon=4.0))
    found = []
    for path in (home / "clients" / run).glob("*/account.json"):
        account = accountant(config.privacy)
        account.restore(json.loads(path.read_text(encoding="utf-8")))
        found.append(account.epsilon)
    return found


@pytest.mark.parametrize("fault", [silent, broken])
def test_the_servers_epsilon_counts_void_rounds_and_lost_replies_as_the_clients_do(fellrec_home: Path, fault) -> None:
    noisy = {"privacy__mechanism": "laplace", "privacy__epsilon": 4.0, "run_name": "noisy", "num_server_rounds": 4}
    lost = lambda reply: fault(reply) if reply.metadata.message_type == "train" else reply  # noqa: E731
    settings = click_settings(fellrec_home, **noisy, federation__timeout=1.0)
    federate(settings, 1, faults={(MANY, 2): lost, (MANY, 4): lost})
    found = result(fellrec_home, "noisy")
    assert found["run"]["void_rounds"] == 2
    assert found["privacy"]["epsilon"] == pytest.approx(max(accounts(fellrec_home, "noisy"))) == pytest.approx(4.0)


def test_void_rounds_are_held_anew_when_a_run_is_resumed(fellrec_home: Path) -> None:
    federate(click_settings(fellrec_home, run_name="whole", num_server_rounds=4))
    lost = lambda reply: silent(reply) if reply.metadata.message_type == "train" else reply  # noqa: E731
    settings = click_settings(fellrec_home, run_name="half", num_server_rounds=4, federation__timeout=1.0)
    with pytest.raises(RunError, match="quorum"):
        federate(settings, 1, faults={(MANY, 3): lost, (MANY, 4): lost})
    federate(click_settings(fellrec_home, run_name="half", num_server_rounds=4, resume=True), 2)
    found = result(fellrec_home, "half")
    assert found["run"]["rounds"] == 4 and found["run"]["void_rounds"] == 0
    one, other = (result(fellrec_home, run)["metrics"]["test"] for run in ("whole", "half"))
    assert one == pytest.approx(other, rel=1e-4)
    assert private(fellrec_home, "half").keys() == private(fellrec_home, "whole").keys()


@pytest.mark.parametrize("strategy", ["fedpa", "local"])
def test_bytes_are_of_the_whole_content_of_a_message(fellrec_home: Path, strategy: str) -> None:
    """The same definition as of a text recommender's run: ``common.messages.message_bytes``."""
    grid = federate(click_settings(fellrec_home, strategy__name=strategy), 1)
    sent = [message_bytes(m.content) for m in grid.sent if m.metadata.message_type == "train"]
    assert result(fellrec_home)["cost"]["client"]["bytes_down"] == pytest.approx(sum(sent) / len(sent) / CLIENTS)
