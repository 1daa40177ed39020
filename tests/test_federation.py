"""A whole run, round by round, in one process: the real apps, real messages, a tiny model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from flwr.app import ArrayRecord, Context, Message, RecordDict

from client_app.node import all_clients
from client_app.training import train
from common.config import from_flat
from common.data.coverage import Coverage
from common.data.interactions import Interactions
from common.errors import ConfigError, DataError, RunError
from common.events import read_lines
from common.messages import message_bytes
from common.run_folder import RunFolder
from common.table import result_table
from fellrec.report.page import report
from fellrec.report.record import Record
from server_app.app import app as server_app
from tests.federation import InProcessGrid, broken, federate, silent, tiny_dataset, tiny_settings

STRATEGIES = ["fellrec", "fellrec-paper", "fedavg", "fedprox", "local", "centralised"]


def result(home: Path, run: str = "latest") -> dict:
    return RunFolder.find(run, str(home)).result()


def events(home: Path, kind: str, run: str = "latest") -> list[dict]:
    return [event for event in read_lines(RunFolder.find(run, str(home)).events_path) if event["event"] == kind]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_runs_to_a_complete_result(fellrec_home: Path, strategy: str) -> None:
    federate(tiny_settings(fellrec_home, strategy__name=strategy))
    found = result(fellrec_home)
    assert found["run"]["strategy"] == strategy and found["run"]["rounds"] == 2 and found["run"]["clients"] == 3
    assert set(found["metrics"]["clients"]) == {"toy-0", "toy-1", "toy-2"}
    assert found["metrics"]["test"].keys() == {"recall@10", "recall@20", "ndcg@10", "ndcg@20"}
    assert found["data"]["generated"] is True and found["data"]["name"] == "toy" and found["data"]["items"] == 9
    assert all(record["recall@10"] is not None and record["loss"] > 0 for record in found["rounds"])


def adapters(home: Path, run: str) -> dict[str, dict[str, torch.Tensor]]:
    folder = RunFolder.find(run, str(home))
    return {client: folder.load_adapter(client) for client in ("toy-0", "toy-1", "toy-2")}


def test_shared_adapters_are_one_for_all_and_personal_ones_differ(fellrec_home: Path) -> None:
    for strategy in STRATEGIES:
        federate(tiny_settings(fellrec_home, strategy__name=strategy, run_name=strategy, fellrec__own_share="rule"))
        first, second, _ = adapters(fellrec_home, strategy).values()
        assert bool(first) == (strategy != "local"), strategy
        same = bool(first) and all(torch.equal(first[name], second[name]) for name in first)
        assert same == (strategy in ("fedavg", "fedprox", "centralised")), strategy


def test_the_same_seed_gives_the_same_run_and_another_seed_another(fellrec_home: Path) -> None:
    for run, seed in (("a", 0), ("b", 0), ("c", 1)):
        federate(tiny_settings(fellrec_home, run_name=run, seed=seed))
    one, two, other = (adapters(fellrec_home, run) for run in "abc")
    for client in one:
        assert all(torch.equal(one[client][name], two[client][name]) for name in one[client])
    assert result(fellrec_home, "a")["metrics"] == result(fellrec_home, "b")["metrics"]
    assert any(not torch.equal(one["toy-0"][name], other["toy-0"][name]) for name in one["toy-0"])


def test_the_number_of_nodes_changes_nothing(fellrec_home: Path) -> None:
    for nodes in (1, 3):
        federate(tiny_settings(fellrec_home, run_name=f"n{nodes}"), nodes=nodes)
    one, three = adapters(fellrec_home, "n1"), adapters(fellrec_home, "n3")
    assert all(torch.equal(one[client][name], three[client][name]) for client in one for name in one[client])


def test_a_resumed_run_gives_the_numbers_of_the_unbroken_one(fellrec_home: Path) -> None:
    common = {"train__freeze_items_from": 2, "strategy__average_rounds": 3}
    federate(tiny_settings(fellrec_home, run_name="whole", num_server_rounds=4, **common))
    federate(tiny_settings(fellrec_home, run_name="half", num_server_rounds=2, **common))
    federate(tiny_settings(fellrec_home, run_name="half", num_server_rounds=4, resume=True, **common))
    unbroken, resumed = adapters(fellrec_home, "whole"), adapters(fellrec_home, "half")
    for client in unbroken:
        assert all(torch.equal(unbroken[client][name], resumed[client][name]) for name in unbroken[client])
    assert result(fellrec_home, "whole")["metrics"] == result(fellrec_home, "half")["metrics"]
    kept = RunFolder.find("half", str(fellrec_home)).path / "checkpoints"
    assert sorted(path.name for path in kept.iterdir()) == ["round-0003", "round-0004"]


def poison(name: str, value: float):
    def fault(reply: Message) -> Message:
        arrays = reply.content.array_records["arrays"].to_torch_state_dict()
        arrays[name if name in arrays else next(iter(arrays))].fill_(value)
        reply.content["arrays"] = ArrayRecord(arrays)
        return reply

    return fault


def claim(key: str, value: object):
    def fault(reply: Message) -> Message:
        record = reply.content["config"] if key in ("clients", "measured") else reply.content["metrics"]
        record[key] = value
        return reply

    return fault


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (broken, "boom"),
        (silent, "no reply"),
        (poison("", float("nan")), "not finite"),
        (claim("measured", ["toy-2"]), "'clients' names one that has measured nothing"),
        (claim("losses", [float("inf")]), "'losses' holds what is no finite number"),
        (claim("sizes", [0]), "'sizes' holds 0, not within 1 and 8"),
        (claim("shares", [0.25]), "not offered"),
        (claim("losses", [1e300]), "not within 0 and 1e+06"),
        (claim("validation.recall@10", [7.0]), "not within 0 and 1"),
    ],
)
def test_a_client_that_fails_or_answers_nonsense_is_named_and_left_out(fellrec_home: Path, fault, reason: str) -> None:
    federate(tiny_settings(fellrec_home, federation__timeout=1.0), faults={("toy-1", 1): fault})
    (rejected,) = events(fellrec_home, "rejected")
    assert rejected["clients"] == ["toy-1"] and rejected["round"] == 1 and reason in rejected["reason"]
    first, second = result(fellrec_home)["rounds"]
    assert first["clients_ok"] == 2 and set(first["clients_failed"]) == {"toy-1"}
    assert second["clients_ok"] == 3 and not second["clients_failed"]


@pytest.mark.parametrize("fault", [broken, silent, claim("shares", [7.0]), claim("cost.parameters", [float("nan")])])
def test_a_client_that_cannot_be_measured_is_missing_by_name(fellrec_home: Path, fault) -> None:
    """After two rounds of training, what one client answers at the end costs the others nothing."""
    calls: list[str] = []

    def at_the_end(reply: Message) -> Message | None:
        calls.append(reply.metadata.message_type)
        return fault(reply) if reply.metadata.message_type == "evaluate" else reply

    federate(tiny_settings(fellrec_home, federation__timeout=1.0), faults={("toy-1", 2): at_the_end})
    found = result(fellrec_home)["metrics"]
    assert (
        calls == ["train", "evaluate"]
        and set(found["clients"]) == {"toy-0", "toy-2"}
        and set(found["missing"]) == {"toy-1"}
    )


def test_a_rejected_client_leaves_no_trace_in_the_others(fellrec_home: Path) -> None:
    federate(
        tiny_settings(fellrec_home, run_name="poisoned", federation__quorum=0.5),
        faults={("toy-1", 1): poison("", float("nan"))},
    )
    federate(tiny_settings(fellrec_home, run_name="absent", federation__quorum=0.5), faults={("toy-1", 1): broken})
    one, two = adapters(fellrec_home, "poisoned"), adapters(fellrec_home, "absent")
    assert all(torch.equal(one[client][name], two[client][name]) for client in one for name in one[client])


def test_below_the_quorum_a_round_is_void_and_two_stop_the_run(fellrec_home: Path) -> None:
    faults = {("toy-0", 1): broken, ("toy-1", 1): broken}
    federate(tiny_settings(fellrec_home, run_name="once"), faults=faults)
    first, second = result(fellrec_home, "once")["rounds"]
    assert first["loss"] is None and second["loss"] is not None
    with pytest.raises(RunError, match="quorum"):
        federate(
            tiny_settings(fellrec_home, run_name="twice", num_server_rounds=3),
            faults=faults | {("toy-0", 2): broken, ("toy-1", 2): broken},
        )
    assert "quorum" in events(fellrec_home, "run_failed", "twice")[0]["reason"]


def test_each_client_gets_its_own_content(fellrec_home: Path) -> None:
    grid = federate(tiny_settings(fellrec_home, fellrec__own_share="rule", num_server_rounds=3))
    third = [message.content for message in grid.sent if message.metadata.message_type == "train"][6:]
    paces = [content["config"]["paces"][0] for content in third]
    first, other = (next(iter(content["personal"].to_torch_state_dict().values())) for content in third[:2])
    assert len(set(paces)) == 3 and not torch.equal(first, other)


def test_two_shops_with_catalogues_of_their_own_train_together(fellrec_home: Path) -> None:
    tiny_dataset("shop", users=18, seed=1, animals=("long", "bear", "owl")).save(fellrec_home / "data" / "shop")
    federate(tiny_settings(fellrec_home, data__sets="toy:1 shop:2"))
    found = result(fellrec_home)
    assert set(found["metrics"]["clients"]) == {"toy-0", "shop-0", "shop-1"}
    assert found["data"]["name"] == "shop toy" and found["data"]["items"] == 18


def test_nobody_at_all_is_an_error_with_a_remedy(fellrec_home: Path) -> None:
    settings = tiny_settings(fellrec_home, federation__nodes_timeout=0.1)
    grid = InProcessGrid(settings, 1)
    grid.present = set()
    with pytest.raises(RunError, match="SuperNodes"):
        server_app(grid, Context(1, 0, {}, RecordDict(), settings, 0))


def test_a_bad_configuration_stops_before_anything_exists(fellrec_home: Path) -> None:
    settings = tiny_settings(fellrec_home) | {"train.learning-rate": float("nan")}
    with pytest.raises(ConfigError, match="train.learning-rate"):
        federate(settings)
    assert not (fellrec_home / "runs").exists()


def test_no_canary_leaves_the_clients(fellrec_home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """User keys and a title that occur nowhere else: not in messages, in the run's files, or in what is logged."""
    tiny_dataset("secretive", users=18, animals=("fox", "bear", "quokka")).save(fellrec_home / "data" / "secretive")
    heard: list[Message] = []
    faults = {(f"secretive-{c}", r): lambda reply: heard.append(reply) or reply for c in range(2) for r in (1, 2)}
    grid = federate(tiny_settings(fellrec_home, data__sets="secretive:2"), faults=faults)
    said = capfd.readouterr()
    run = RunFolder.find("latest", str(fellrec_home)).path
    kept = b"".join(path.read_bytes() for path in run.rglob("*") if path.is_file())
    spoken = "".join(repr(dict(record)) for m in (*grid.sent, *heard) for record in m.content.config_records.values())
    assert len(heard) == 6
    for canary in ("secretive-u", "quokka"):
        assert canary.encode() not in kept and canary not in said.err + said.out + spoken


def test_centralised_training_reads_the_item_matrices_of_the_others(
    fellrec_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_dataset("shop", users=18, seed=1, animals=("long", "bear", "owl")).save(fellrec_home / "data" / "shop")
    read: dict[tuple[str, str], torch.Tensor] = {}

    def kept(recommender, shelves, config, *rest):  # noqa: ANN001, ANN002, ANN202
        read.update({(config.strategy.name, shelf.holding.client): shelf.items for shelf in shelves})
        return train(recommender, shelves, config, *rest)

    monkeypatch.setattr("client_app.text_learner.train", kept)
    for strategy in ("local", "centralised"):
        chosen = {"run_name": strategy, "strategy__name": strategy, "train__freeze_items_from": 1}
        federate(tiny_settings(fellrec_home, data__sets="toy:1 shop:1", **chosen))
    assert len(read) == 4 and not torch.equal(read["local", "toy-0"], read["local", "shop-0"])
    for client in ("toy-0", "shop-0"):
        assert torch.equal(read["local", client], read["centralised", client])


def test_a_user_without_a_history_is_left_out_and_the_others_take_part(fellrec_home: Path) -> None:
    """By global time the last users of the toy set have no training interaction."""
    settings = tiny_settings(
        fellrec_home,
        num_server_rounds=1,
        data__partition="user",
        data__sets="toy:0",
        federation__quorum=0.1,
        data__split="global-time",
    )
    toy = tiny_dataset("toy")
    known, last = toy.interactions, len(toy.interactions)
    late = Interactions(
        known.user_keys, [*known.users, 0], [*known.items, 8], [*known.times, last]
    )  # the first user comes back at the very end, for something new
    replace(toy, interactions=late).save(fellrec_home / "data" / "toy")
    federate(settings)
    (ended,) = events(fellrec_home, "round_ended")
    assert 0 < ended["clients_ok"] < 24 and not ended["clients_failed"]
    found = result(fellrec_home)
    assert list(found["metrics"]["clients"]) == ["toy-00"]
    assert found["data"]["untested"] == {"met_before": 0, "untried": ended["clients_ok"] - 1}
    assert found["metrics"]["missing"]["toy-01"] == (
        "no test users: 0 had their test items before, 1 have no history or no test item"
    )


def test_users_who_had_their_test_item_before_are_counted(fellrec_home: Path) -> None:
    settings = tiny_settings(fellrec_home, num_server_rounds=1, data__sets="toy:2")
    _bought_again(fellrec_home, range(5))
    federate(settings)
    found = result(fellrec_home)
    assert found["data"]["untested"] == {"met_before": 5, "untried": 0}
    assert sum(row["test_users"] for row in found["metrics"]["clients"].values()) == 24 - 5
    assert "users who cannot be tested: 5 had their test items before" in result_table(found)
    page = report(Record.read(RunFolder.find("latest")))
    assert "users who cannot be tested: 5 had their test items before" in page


def test_a_run_in_which_nobody_can_be_tested_is_refused_at_its_start(
    fellrec_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tiny_settings(fellrec_home, num_server_rounds=1, data__sets="toy:2")
    _bought_again(fellrec_home, range(24))
    with pytest.raises(DataError, match="no user of data set 'toy' can be tested.*24 had their test items before"):
        all_clients(from_flat(settings), str(fellrec_home))
    # nodes with data of their own are known by what they tell alone
    monkeypatch.setattr(Coverage, "check", lambda *_: None)
    with pytest.raises(RunError, match="no client has a user that can be tested: 24 users had their test items before"):
        federate(settings)
    assert not events(fellrec_home, "round_started")


def _bought_again(home: Path, users: range) -> None:
    """These users of the toy set end with the item that they began with."""
    toy = tiny_dataset("toy")
    known, items = toy.interactions, toy.interactions.items.copy()
    for user in users:
        rows = known.of_user(user)
        items[rows.stop - 1] = items[rows.start]
    changed = Interactions(known.user_keys, known.users, items, known.times)
    replace(toy, interactions=changed).save(home / "data" / "toy")


def test_a_resumed_run_with_other_settings_is_refused(fellrec_home: Path) -> None:
    federate(tiny_settings(fellrec_home, run_name="one"))
    with pytest.raises(RunError, match="'model.temperature' = 0.05, not 0.5"):
        federate(tiny_settings(fellrec_home, run_name="one", resume=True, model__temperature=0.5))


def test_void_rounds_are_held_anew_when_a_run_is_resumed(fellrec_home: Path) -> None:
    """Two void rounds of four stop a run; resumed, it comes to what the unbroken one came to, in four whole rounds."""
    federate(tiny_settings(fellrec_home, run_name="whole", num_server_rounds=4))
    faults = {(client, number): broken for client in ("toy-0", "toy-1") for number in (3, 4)}
    with pytest.raises(RunError, match="quorum"):
        federate(tiny_settings(fellrec_home, run_name="half", num_server_rounds=4), faults=faults)
    spent = RunFolder.find("half", str(fellrec_home)).last_checkpoint()[0]["seconds"]
    federate(tiny_settings(fellrec_home, run_name="half", num_server_rounds=4, resume=True))
    found = result(fellrec_home, "half")
    assert found["metrics"] == result(fellrec_home, "whole")["metrics"] and found["run"]["seconds"] > spent
    assert found["run"]["rounds"] == 4 and found["run"]["void_rounds"] == 0 and len(found["rounds"]) == 4
    unbroken, resumed = adapters(fellrec_home, "whole"), adapters(fellrec_home, "half")
    assert all(torch.equal(unbroken[c][name], resumed[c][name]) for c in unbroken for name in unbroken[c])
    kept = RunFolder.find("half", str(fellrec_home)).path / "checkpoints"
    assert sorted(path.name for path in kept.iterdir()) == ["round-0003", "round-0004"]


def test_a_model_too_small_for_the_default_cut_runs_without_the_split(fellrec_home: Path) -> None:
    settings = tiny_settings(fellrec_home, num_server_rounds=1, split__k=3, split__m=1)
    federate(settings)
    cost = result(fellrec_home)["cost"]["client"]
    assert cost["weights_bytes"] == cost["weights_bytes_whole"] > 0


def test_a_void_round_that_stays_is_told_wherever_the_numbers_are(fellrec_home: Path) -> None:
    federate(tiny_settings(fellrec_home), faults={("toy-0", 1): broken, ("toy-1", 1): broken})
    found = result(fellrec_home)
    assert found["run"]["void_rounds"] == 1 and any("1 of 2 rounds were void" in line for line in result_table(found))


def test_bytes_are_of_the_whole_content_of_a_message(fellrec_home: Path) -> None:
    """The same definition as of a click model's run: ``common.messages.message_bytes``."""
    grid = federate(tiny_settings(fellrec_home, strategy__name="local"))
    sent = [message_bytes(m.content) for m in grid.sent if m.metadata.message_type == "train"]
    assert result(fellrec_home)["cost"]["client"]["bytes_down"] == pytest.approx(sum(sent) / len(sent))
