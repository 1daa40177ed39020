"""A run in this process: the numbers of any other run, and the process as it was before."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, RecordDict
from torch import Tensor
from transformers import BertModel

from client_app.app import app as client_app
from common.config import from_flat
from common.errors import ConfigError, RunError
from common.events import Event, RoundEnded, RoundStarted, read_lines
from common.run_folder import RunFolder
from fellrec import in_process
from fellrec.in_process import InProcessGrid, run_in_process
from server_app.aggregation import RULES
from tests.clicks import click_settings
from tests.federation import federate, tiny_causal_settings, tiny_model, tiny_settings
from tests.fellrec.test_init import python

KINDS = {"encoder": tiny_settings, "generative": tiny_causal_settings, "click": click_settings}


def message(tensor: Tensor) -> Message:
    record = {
        "arrays": ArrayRecord({"w": tensor}),
        "config": ConfigRecord({"clients": ["a", "b"], "lr": 0.1, "n": 2**40}),
    }
    return Message(RecordDict(record), 101, MessageType.TRAIN)


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch):
    """Puts a function in the ClientApp's place."""
    return lambda answer: monkeypatch.setattr(in_process, "client_app", answer)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("split", [False, True])
def test_it_gives_the_numbers_of_a_run_over_the_tests_grid(fellrec_home: Path, kind: str, split: bool) -> None:
    if kind == "click" and split:
        pytest.skip("a click model is not split")
    settings = KINDS[kind](fellrec_home, split__on=split, num_server_rounds=2)
    federate(settings | {"run-name": "one"})
    flat = settings | {"run-name": "two"}
    found = run_in_process(flat, from_flat(flat))
    one, two = RunFolder.find("one", str(fellrec_home)).result(), found.result()
    assert found.name == "two" and one["metrics"] == two["metrics"] and one["data"] == two["data"]
    assert [row["loss"] for row in one["rounds"]] == [row["loss"] for row in two["rounds"]]


def test_nothing_is_shared_between_the_sides(answering) -> None:
    weights = torch.arange(6.0).reshape(2, 3)
    kept: list[RecordDict] = []

    def answer(arrived: Message, context) -> Message:
        kept.append(arrived.content)
        reply = RecordDict({"arrays": ArrayRecord({"w": arrived.content["arrays"].to_torch_state_dict()["w"] + 1})})
        kept.append(reply)
        # whoever writes into what arrived, or into what was sent, writes into a copy
        arrived.content["config"]["clients"].append("c")
        arrived.content["arrays"]["w"].data = b""
        return Message(reply, reply_to=arrived)

    answering(answer)
    sent = message(weights)
    grid = InProcessGrid({}, 1)
    (reply,) = grid.send_and_receive([sent])
    kept[1]["arrays"]["w"].data = b""
    weights.zero_()
    assert sent.content["config"]["clients"] == ["a", "b"] and sent.content["config"]["n"] == 2**40
    assert torch.equal(sent.content["arrays"].to_torch_state_dict()["w"], torch.arange(6.0).reshape(2, 3))
    assert torch.equal(reply.content["arrays"].to_torch_state_dict()["w"], torch.arange(1.0, 7.0).reshape(2, 3))
    assert reply.metadata.reply_to_message_id == sent.metadata.message_id and reply.metadata.src_node_id == 101


def test_what_flower_cannot_send_is_refused_as_there(answering) -> None:
    answering(lambda arrived, context: Message(RecordDict(), reply_to=arrived))
    sent = message(torch.zeros(1))
    sent.content["config"]["n"] = 2**70
    with pytest.raises(ValueError, match="out of range"):
        list(InProcessGrid({}, 1).push_messages([sent]))


def test_a_client_app_that_raises_is_an_error_reply_and_the_others_go_on(answering) -> None:
    def answer(arrived: Message, context) -> Message:
        if context.node_id == 101:
            raise KeyError("no such thing")
        return Message(RecordDict(), reply_to=arrived)

    answering(answer)
    one, other = message(torch.zeros(1)), message(torch.zeros(1))
    other.metadata.dst_node_id = 102
    replies = InProcessGrid({}, 2).send_and_receive([one, other])
    assert [reply.has_error() for reply in replies] == [True, False]
    assert "KeyError" in replies[0].error.reason


def test_a_run_goes_on_without_the_client_that_raises(fellrec_home: Path, answering) -> None:
    def answer(arrived: Message, context) -> Message:
        config = arrived.content.config_records["config"]
        if (config.get("clients"), config.get("server-round")) == (["toy-1"], 1):
            raise RuntimeError("boom")
        return client_app(arrived, context)

    answering(answer)
    settings = tiny_settings(fellrec_home, run_name="one")
    result = run_in_process(settings, from_flat(settings)).result()
    assert [row["clients_ok"] for row in result["rounds"]] == [2, 3]
    assert result["rounds"][0]["clients_failed"].keys() == {"toy-1"}


def test_every_event_is_told_once_in_its_order(fellrec_home: Path) -> None:
    heard: list[Event] = []
    settings = tiny_settings(fellrec_home, run_name="one")
    found = run_in_process(settings, from_flat(settings), listen=heard.append)
    assert [event.KIND for event in heard] == [event["event"] for event in _events(found)]
    assert heard[0].KIND == "run_started" and heard[-1].KIND == "run_ended"


def test_a_resumed_run_tells_what_is_new_and_ends_as_one_that_was_never_interrupted(fellrec_home: Path) -> None:
    whole, parts = (tiny_settings(fellrec_home, run_name=name, num_server_rounds=3) for name in ("whole", "parts"))
    whole_run = run_in_process(whole, from_flat(whole))

    def stop(event: Event) -> None:
        if isinstance(event, RoundEnded) and event.round == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_in_process(parts, from_flat(parts), listen=stop)
    again, heard = parts | {"resume": True}, []
    found = run_in_process(again, from_flat(again), listen=heard.append)
    assert "round_ended" in {event.KIND for event in heard} and heard[-1].KIND == "run_ended"
    assert [event.round for event in heard if isinstance(event, RoundEnded)][-1] == 3
    assert not any(isinstance(event, RoundEnded) and event.round == 1 for event in heard)
    assert found.result()["metrics"] == whole_run.result()["metrics"]


def test_a_listeners_exception_ends_the_run(fellrec_home: Path) -> None:
    def listen(event: Event) -> None:
        if isinstance(event, RoundEnded):
            raise ZeroDivisionError("enough")

    settings = tiny_settings(fellrec_home, run_name="one")
    with pytest.raises(ZeroDivisionError, match="enough"):
        run_in_process(settings, from_flat(settings), listen=listen)
    assert "run_failed" in {event["event"] for event in _events(RunFolder.find("one", str(fellrec_home)))}


def test_a_second_run_at_once_is_refused_and_the_first_goes_on(fellrec_home: Path) -> None:
    one, other = (tiny_settings(fellrec_home, run_name=name) for name in ("one", "other"))
    refused: list[RunError] = []

    def second() -> None:
        with pytest.raises(RunError, match="another run is at work") as found:
            run_in_process(other, from_flat(other))
        refused.append(found.value)

    def listen(event: Event) -> None:
        if isinstance(event, RoundStarted) and not refused:
            beside = threading.Thread(target=second)
            beside.start()
            beside.join()

    run_in_process(one, from_flat(one), listen=listen).result()
    assert len(refused) == 1 and not (fellrec_home / "runs" / "other").exists()
    run_in_process(other, from_flat(other)).result()


def test_settings_that_do_not_fit_start_nothing(fellrec_home: Path) -> None:
    settings = tiny_causal_settings(fellrec_home, model__max_tokens=40)
    with pytest.raises(ConfigError, match="'model.max-tokens' = 40"):
        run_in_process(settings, from_flat(settings))
    assert not (fellrec_home / "runs").exists()


def test_a_model_that_was_made_anew_in_its_folder_is_read_anew(fellrec_home: Path) -> None:
    settings = tiny_settings(fellrec_home, num_server_rounds=1)
    flats = [settings | {"run-name": name} for name in ("one", "same", "other")]
    losses = [run_in_process(flat, from_flat(flat)).result()["rounds"][0]["loss"] for flat in flats[:2]]
    folder = tiny_model(fellrec_home / "model")
    model = BertModel.from_pretrained(folder, add_pooling_layer=False)
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.mul_(1.5)
    model.save_pretrained(folder)
    losses.append(run_in_process(flats[2], from_flat(flats[2])).result()["rounds"][0]["loss"])
    assert losses[0] == losses[1] != losses[2]


@dataclass(frozen=True)
class First:
    """Everybody takes the first client's adapter."""

    merge: str = "factors"

    def weights(self, updates) -> Tensor:
        matrix = torch.zeros(len(updates.clients), len(updates.clients), dtype=torch.float64)
        matrix[:, 0] = 1
        return matrix


def test_a_rule_of_this_process_is_the_one_that_mixes(fellrec_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RULES, "fellrec-paper", First)
    settings = tiny_settings(fellrec_home, strategy__name="fellrec-paper", run_name="one")
    found = run_in_process(settings, from_flat(settings))
    weights = [event["weights"] for event in _events(found) if event["event"] == "round_ended"]
    assert all(
        row == {"toy-0": 1.0} | {k: 0.0 for k in row if k != "toy-0"} for mixed in weights for row in mixed.values()
    )
    assert len(weights) == 2


@pytest.mark.parametrize("how", ["ends", "fails", "is interrupted"])
def test_the_process_is_left_as_it_was(tmp_path: Path, how: str) -> None:
    settings = tiny_settings(tmp_path, run_name="one", split__on=True)
    python(
        """
import flwr.app, flwr.serverapp, flwr.clientapp, transformers, torch, faulthandler
faulthandler.dump_traceback_later(240, exit=True)
from flwr.supercore.task_identity import TaskIdentity
from transformers.utils import logging as bars
import fellrec, server_app.app, client_app.app
settings, how = json.loads(sys.argv[1]), sys.argv[2]
torch.set_num_threads(2); torch.manual_seed(5); logging.getLogger("flwr").setLevel(logging.WARNING)
def more():
    return look() | {"identity": [vars(TaskIdentity)[name] for name in ("_run_id", "_task_id", "_node_id")],
                     "flwr": [logging.getLogger("flwr").level, repr(logging.getLogger("flwr").handlers)],
                     "bars": bars.is_progress_bar_enabled()}
def listen(event):
    assert torch.get_num_threads() == 1
    if event["event"] == "round_ended" and how != "ends":
        raise KeyboardInterrupt if how == "is interrupted" else ValueError
before = more()
try:
    fellrec.run(settings, in_process=True, listen=listen)
except (KeyboardInterrupt, ValueError):
    assert how != "ends"
gc.collect()
for _ in range(100):
    if threading.active_count() <= before["threads"]: break
    threading.Event().wait(0.1)
after = more()
changed = {key: (value, after[key]) for key, value in before.items() if value != after[key]}
assert not changed, changed
assert before["identity"] == [None] * 3 and before["bars"]
""",
        json.dumps(settings),
        how,
    )


def _events(run: RunFolder) -> list[dict]:
    return list(read_lines(run.events_path))
