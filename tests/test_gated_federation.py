"""FedPA on language models, FELLRec on click models, noise on both: what the one table of scopes makes possible."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from flwr.app import Message

from client_app.memory import Memory
from common.config import from_flat
from common.errors import ConfigError
from common.events import read_lines
from common.recommenders.federated import federated_model
from common.run_folder import RunFolder
from common.scopes import Owner, Scope, owner_of
from fellrec.export import export
from fellrec.recommending import recommending
from fellrec.served import served_adapter
from tests.clicks import click_settings
from tests.federation import InProcessGrid, federate, tiny_causal_settings, tiny_settings

GATED = {"strategy__name": "fedpa", "model__adapter": "gated", "fedpa__groups": "branch=north,south"}
CLIENTS = ("toy-0", "toy-1", "toy-2")


def result(home: Path, run: str = "latest") -> dict:
    return RunFolder.find(run, str(home)).result()


class Captured(InProcessGrid):
    """Keeps every message and every reply."""

    def __init__(self, *given) -> None:  # noqa: ANN002
        super().__init__(*given)
        self.crossed: list[Message] = []

    def _answer(self, message: Message) -> Message | None:
        reply = super()._answer(message)
        self.crossed += [message] if reply is None else [message, reply]
        return reply


@pytest.mark.parametrize("make", [tiny_settings, tiny_causal_settings])
def test_private_paths_never_cross_and_everything_else_does(fellrec_home: Path, make) -> None:
    settings = make(fellrec_home, run_name="one", train__learning_rate=0.05, **GATED)
    grid = federate(settings, grid=Captured)
    scopes = federated_model(from_flat(settings)).scopes
    private = {name for name, scope in scopes.items() if scope is Scope.PRIVATE}
    assert private == {name for name in scopes if owner_of(name) is Owner.CLIENT} and private
    crossed = {
        name
        for message in grid.crossed
        for kind in ("arrays", "tables", "personal", "own")
        for name in message.content.array_records.get(kind, {})
    }
    assert crossed == set(scopes) - private
    content = b"".join(
        array.data for m in grid.crossed for record in m.content.array_records.values() for array in record.values()
    )
    for client in CLIENTS:
        (kept,) = Memory(fellrec_home / "clients" / "one" / client).kept(3)
        assert kept.keys() == private
        moved = [tensor.numpy().tobytes() for name, tensor in kept.items() if name.endswith("lora_B.weight")]
        assert any(any(values) for values in moved), "the path learned something that could have crossed"
        assert not any(values in content for values in moved if any(values))


def test_a_group_gets_the_mean_of_its_members_and_all_get_the_mean_of_all(fellrec_home: Path) -> None:
    """By hand, from what was sent: clients 0 and 2 are of the first group, client 1 of the second; sizes are alike."""
    settings = tiny_settings(fellrec_home, num_server_rounds=2, strategy__average_rounds=1, **GATED)
    grid = federate(settings, grid=Captured)
    model = federated_model(from_flat(settings))
    replies = [
        m.content for m in grid.crossed if m.metadata.message_type == "train" and "metrics" in m.content.metric_records
    ]
    replies = sorted(replies[:3], key=lambda content: content["config"]["clients"])
    sent = [content["arrays"].to_torch_state_dict() for content in replies]
    tasks = [m.content for m in grid.crossed if m.metadata.message_type == "train" and "paces" in m.content["config"]]
    groups = {"toy-0": [0, 2], "toy-1": [1], "toy-2": [0, 2]}
    for content in tasks[3:6]:
        (client,) = content["config"]["clients"]
        for name, tensor in content["arrays"].to_torch_state_dict().items():
            mean = torch.stack([one[name][0].double() for one in sent]).mean(dim=0)
            torch.testing.assert_close(tensor.double(), mean, rtol=0, atol=1e-6)
        for name, tensor in content["tables"].to_torch_state_dict().items():
            mean = torch.stack([sent[place][name][0].double() for place in groups[client]]).mean(dim=0)
            torch.testing.assert_close(tensor[0].double(), mean, rtol=0, atol=1e-6)
    assert model.names(Scope.GROUP) and model.names(Scope.SHARED)


@pytest.mark.parametrize("make", [tiny_settings, tiny_causal_settings])
def test_after_a_run_its_clients_recommend_and_are_exported_as_they_were_measured(
    fellrec_home: Path, tmp_path: Path, make
) -> None:
    federate(make(fellrec_home, run_name="one", train__learning_rate=0.05, train__local_epochs=2, **GATED))
    run = RunFolder.find("one", str(fellrec_home))
    served = served_adapter(run, "toy-1")
    assert served.keys() == federated_model(run.config()).scopes.keys()
    with recommending(run, "toy-1") as recommender:
        assert recommender.for_user(top=3).recommended
    found = export(run, "toy-1", tmp_path / "out")
    assert found.moved > 0 and (tmp_path / "out" / "gated.safetensors").is_file()
    assert "GatedLayer" in (tmp_path / "out" / "README.md").read_text()


def test_a_resumed_run_gives_the_numbers_of_the_unbroken_one(fellrec_home: Path) -> None:
    for name, rounds, resume in (("whole", 4, False), ("half", 2, False), ("half", 4, True)):
        federate(tiny_settings(fellrec_home, run_name=name, num_server_rounds=rounds, resume=resume, **GATED))
    one, other = (RunFolder.find(name, str(fellrec_home)) for name in ("whole", "half"))
    assert one.result()["metrics"] == other.result()["metrics"]
    for client in CLIENTS:
        mine, yours = served_adapter(one, client), served_adapter(other, client)
        assert all(torch.equal(mine[name], yours[name]) for name in mine)


def test_how_many_clients_share_a_message_changes_no_number(fellrec_home: Path) -> None:
    for name, many in (("one", 1), ("two", 2)):
        federate(tiny_settings(fellrec_home, run_name=name, federation__clients_per_message=many), nodes=1)
    assert result(fellrec_home, "one")["metrics"] == result(fellrec_home, "two")["metrics"]
    first = federate(tiny_settings(fellrec_home, run_name="three", federation__clients_per_message=3), nodes=1)
    assert len([m for m in first.sent if m.metadata.message_type == "train"]) == 2
    assert result(fellrec_home, "three")["metrics"] == result(fellrec_home, "one")["metrics"]


def test_one_of_several_clients_of_a_message_that_fails_costs_the_others_nothing(
    fellrec_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from client_app import text_learner
    from common.errors import ModelError

    train = text_learner.train

    def fails(recommender, shelves, config, client, number, *rest):  # noqa: ANN001, ANN002, ANN202
        if (client, number) == ("toy-1", 1):
            raise ModelError("the loss became nan", "lower it")
        return train(recommender, shelves, config, client, number, *rest)

    monkeypatch.setattr(text_learner, "train", fails)
    federate(tiny_settings(fellrec_home, federation__clients_per_message=3), nodes=1)
    first, second = result(fellrec_home)["rounds"]
    assert first["clients_failed"] == {"toy-1": "left-out"} and first["clients_ok"] == 2 and second["clients_ok"] == 3
    log = read_lines(RunFolder.find("latest", str(fellrec_home)).events_path)
    (rejected,) = [line for line in log if line["event"] == "rejected"]
    assert rejected["clients"] == ["toy-1"] and "the loss became nan" in rejected["reason"]


@pytest.mark.parametrize("strategy", ["fellrec", "fellrec-paper"])
def test_attention_heats_and_paces_work_on_a_click_model(fellrec_home: Path, strategy: str) -> None:
    federate(click_settings(fellrec_home, strategy__name=strategy, num_server_rounds=3))
    found = result(fellrec_home)
    assert found["metrics"]["test"]["rows"] == 48 and [r["clients_ok"] for r in found["rounds"]] == [12] * 3
    log = read_lines(RunFolder.find("latest", str(fellrec_home)).events_path)
    ended = [line for line in log if line["event"] == "round_ended"]
    for line in ended:
        assert all(sum(row.values()) == pytest.approx(1.0) for row in line["weights"].values()) and line["weights"]
        assert line["participants"].keys() == {"age", "city"}
    heats = [[told["heat"] for told in line["clients"].values()] for line in ended]
    assert heats[0] != heats[2] and all(0 < heat <= 1 for row in heats for heat in row)


@pytest.mark.parametrize("mechanism", ["laplace", "gaussian"])
@pytest.mark.parametrize(
    "chosen", [GATED, {"strategy__name": "fedavg"}, {"strategy__name": "fellrec", "fellrec__own_share": "rule"}]
)
def test_text_adapters_are_clipped_noised_and_charged_for(fellrec_home: Path, mechanism: str, chosen: dict) -> None:
    noise = {"privacy__mechanism": mechanism, "privacy__epsilon": 3.0, "privacy__clip": 0.1}
    grid = federate(tiny_settings(fellrec_home, run_name="one", **noise, **chosen), grid=Captured)
    found = result(fellrec_home)
    assert found["privacy"]["mechanism"] == mechanism and found["privacy"]["epsilon"] == pytest.approx(3.0, rel=1e-6)
    assert all(record["loss"] is None for record in found["rounds"])
    accounts = list((fellrec_home / "clients" / "one").glob("*/account.json"))
    assert len(accounts) == 3 and all('"releases": 2' in path.read_text() for path in accounts)
    replies = [m.content for m in grid.crossed if m.metadata.message_type == "train" and m.content.metric_records]
    assert len(replies) == 6
    for content in replies:
        assert content["metrics"]["sizes"] == [1] and content["metrics"]["losses"] == []


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"model__adapter": "lora"}, "has no paths for user and groups"),
        ({"split__on": True}, "the server would hold the user-level path"),
        ({"model__dtype": "bf16"}, "full precision"),
        ({"fedpa__groups": ""}, "names no attribute"),
        ({"fedpa__groups": "branch"}, "names no attribute with distinct values"),
        ({"fedpa__groups": "", "fedpa__group_adapters": False, "fedpa__user_adapter": False}, "leave no adapter"),
    ],
)
def test_settings_that_do_not_fit_are_refused_by_name(fellrec_home: Path, overrides: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        tiny_settings(fellrec_home, **GATED | overrides)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"strategy__name": "local"}, "nothing leaves"),
        ({"split__on": True, "strategy__name": "fedavg"}, "hosted layers see gradients without noise"),
        ({"strategy__name": "fellrec"}, "is not noised"),
    ],
)
def test_noise_that_would_not_cover_what_leaves_is_refused(fellrec_home: Path, overrides: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        tiny_settings(fellrec_home, privacy__mechanism="gaussian", **overrides)
