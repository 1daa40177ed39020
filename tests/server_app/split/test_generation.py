"""Sequences on the service: what is held, for how long, and what is refused."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from client_app.link import SplitLink
from common.cut import Cut, server_side
from common.pb import split_pb2 as pb
from common.wire import Codec, Refused, Rows
from server_app.split.adapter import HostedAdapter, initial
from server_app.split.generation import Sequences, Standing
from server_app.split.host import SplitHost
from server_app.split.lora import HostedTrunk
from server_app.split.memory import HeldMemory, Kind
from server_app.split.settings import AdamW, HostedLora, Limits
from server_app.split.work import Work
from tests.common.cut.tiny import CAUSAL, save_tiny
from tests.server_app.split.raw import Raw, ask, hello, hidden
from tests.server_app.split.tiny import host_for, link_settings
from tests.server_app.split.tiny import model_folder as folder_of

CUT = Cut(1, 1)


@dataclass(frozen=True)
class Caller:
    client: str

    @property
    def owner(self) -> str:
        return self.client


ANN, BOB = Caller("ann"), Caller("bob")


class Service:
    """Sequences of a tiny model of hidden size 16."""

    def __init__(self, folder: Path, limit: int = 1 << 20, most: int = 4) -> None:
        self.layers = server_side(folder, CUT)
        self.trunk = HostedTrunk(self.layers, HostedLora(("q_proj", "c_attn")), str)
        self.memory = HeldMemory(1 << 30, {Kind.CACHE: limit})
        self.sequences = Sequences(self.trunk, self.memory, most)
        adapter = HostedAdapter(initial(self.trunk.shapes, 8, 1), AdamW(), torch.device("cpu"))
        self.standing = Standing(adapter, 1, 0)
        self.number = 0

    def ask(self, columns: Tensor, mask: Tensor | None = None, caller: object = ANN, **fields: object) -> Tensor:
        """The hosted layers' answer [B,T,H]; ``past`` makes it a decode."""
        self.number = fields.pop("number", self.number + 1)
        standing, sequence = fields.pop("standing", self.standing), pb.Sequence(**{"id": 1, **fields})
        rows = Rows.of(columns, mask, None)
        op = pb.OP_DECODE if sequence.past else pb.OP_PREFILL
        request = pb.Request(number=self.number, op=op, rows=rows.message(), sequence=sequence)
        share = self.memory.take(caller.client, Kind.MESSAGE, 0)
        work = Work(caller, request, rows, [rows.pack(columns)], share, 0.0, 1.0)
        return rows.unpack(self.sequences.run(work, standing).tensor)


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    return {family: save_tiny(family, tmp_path_factory.mktemp(family)) for family in CAUSAL}


@pytest.fixture
def service(models: dict[str, Path]) -> Service:
    return Service(models["llama"])


def columns(rows: int, width: int, seed: int = 1) -> Tensor:
    return torch.randn(rows, width, 16, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("family", CAUSAL)
def test_steps_are_one_pass_and_take_no_more_than_was_reserved(models: dict[str, Path], family: str) -> None:
    service, whole = Service(models[family]), columns(3, 9)
    mask = torch.ones(3, 9, dtype=torch.long)
    mask[1, :3] = 0
    mask[2, :4] = 0
    reserved: list[int] = []
    take = service.memory.take

    def watched(client: str, kind: Kind, nbytes: int) -> object:
        if kind == Kind.CACHE and nbytes:
            reserved.append(service.memory._taken["ann", Kind.CACHE] + nbytes)
        return take(client, kind, nbytes)

    service.memory.take = watched
    found = [service.ask(whole[:, :5], mask[:, :5])]
    for at in range(5, 9):
        found.append(service.ask(whole[:, at : at + 1], mask[:, at : at + 1], past=at, starts=[0, 3, 4]))
        assert service.sequences._held[ANN][1].share.nbytes <= reserved[-1]
    expected = service.layers(whole, mask, None)
    real = mask.bool()
    torch.testing.assert_close(torch.cat(found, 1)[real], expected[real], rtol=1e-4, atol=1e-5)
    assert len(reserved) == 5
    service.sequences.leave(ANN)
    assert service.memory.nbytes == 0


def test_rows_follow_the_order_that_was_asked_for(service: Service) -> None:
    whole, order = columns(3, 5), [2, 0, 0, 1]
    service.ask(whole[:, :4])
    found = service.ask(whole[order][:, 4:], past=3, dropped=1, order=order)
    expected = service.layers(torch.cat([whole[order][:, :3], whole[order][:, 4:]], 1), None, None)[:, 3:]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "rows"),
    [
        ({"past": 3}, 2),
        ({"past": 5}, 2),
        ({"past": 4, "dropped": 1}, 2),
        ({"past": 4, "order": [0, 2]}, 2),
        ({"past": 4}, 3),
        ({"past": 4, "id": 2}, 2),
        ({"past": 4, "caller": BOB}, 2),
    ],
    ids=str,
)
def test_columns_that_are_not_held_are_wanted_again(service: Service, fields: dict, rows: int) -> None:
    service.ask(columns(2, 4))
    before = service.ask(columns(2, 1), past=4)
    with pytest.raises(Refused) as refused:
        service.ask(columns(rows, 1), **{"number": 9, **fields, "past": fields["past"] + 1})
    assert refused.value.status == "FAILED_PRECONDITION"
    # what is held is still there, unchanged
    assert torch.equal(service.ask(columns(2, 1), number=2, past=4), before)
    service.ask(columns(2, 1), number=10, past=5)


def test_a_repeated_request_appends_once(service: Service) -> None:
    first = service.ask(columns(2, 4), number=3)
    assert torch.equal(service.ask(columns(2, 4), number=3), first)
    second = service.ask(columns(2, 1), number=4, past=4)
    assert torch.equal(service.ask(columns(2, 1), number=4, past=4), second)
    for late in ({"number": 3}, {"number": 2}, {"number": 3, "past": 5}):
        with pytest.raises(Refused, match="overtaken"):
            service.ask(columns(2, 1), **late)
    service.ask(columns(2, 1), number=5, past=5)


def test_a_repeated_request_whose_answer_was_not_kept_is_refused(service: Service) -> None:
    service.memory.offer = lambda client, kind, nbytes: None
    service.memory.take = HeldMemory(1 << 30, {}).take
    service.ask(columns(2, 4), number=3)
    with pytest.raises(Refused, match="overtaken"):
        service.ask(columns(2, 4), number=3)
    service.ask(columns(2, 1), number=4, past=4)


@pytest.mark.parametrize("changed", [{"step": 1}, {"version": 2}, {"adapter": None}], ids=str)
def test_keys_of_another_adapter_are_given_up(service: Service, changed: dict) -> None:
    service.ask(columns(2, 4))
    standing = Standing(**{**vars(service.standing), **changed})
    with pytest.raises(Refused, match="adapter.*changed"):
        service.ask(columns(2, 1), past=4, standing=standing)
    assert service.memory.nbytes == 0
    service.ask(columns(2, 5), standing=standing)
    service.ask(columns(2, 1), past=5, standing=standing)


def test_memory_beyond_the_limit_is_refused_before_it_is_taken(models: dict[str, Path]) -> None:
    service = Service(models["llama"])
    need = service.layers.cache_bytes(2, 5)
    service = Service(models["llama"], limit=need)
    service.ask(columns(2, 4))
    service.ask(columns(2, 1), past=4)
    ran: list[object] = []
    service.layers.register_forward_pre_hook(lambda *call: ran.append(call))
    for fields in ({"past": 5}, {"past": 5, "order": [0, 1, 0]}, {"id": 2}):
        with pytest.raises(Refused) as refused:
            service.ask(columns(3 if "order" in fields else 2, 1 if "past" in fields else 5), **fields)
        assert refused.value.status == "RESOURCE_EXHAUSTED"
    assert not ran
    # another client's limit is its own
    service.ask(columns(2, 4), caller=BOB)
    service.sequences.leave(ANN)
    service.sequences.end(BOB, [1, 7])
    assert service.memory.nbytes == 0


def test_a_prefill_takes_the_place_of_what_was_held(service: Service) -> None:
    service.ask(columns(2, 4))
    held = service.memory.nbytes
    service.ask(columns(2, 4))
    assert service.memory.nbytes == held
    for identity in range(2, 9):
        service.ask(columns(2, 4), id=identity)
    assert service.memory.nbytes == 4 * held
    with pytest.raises(Refused, match="no keys"):
        service.ask(columns(2, 1), id=2, past=4)


def test_a_pass_that_fails_leaves_nothing(service: Service) -> None:
    service.ask(columns(2, 4))
    broken = service.layers.register_forward_hook(lambda *call: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        service.ask(columns(2, 1), past=4)
    broken.remove()
    assert service.memory.nbytes == 0
    with pytest.raises(Refused, match="no keys"):
        service.ask(columns(2, 1), past=4)


def test_dropping_what_a_window_has_lost_asks_for_a_prefill(models: dict[str, Path]) -> None:
    service = Service(models["mistral"])
    service.ask(columns(2, 6))
    with pytest.raises(Refused, match="cannot be dropped") as refused:
        service.ask(columns(2, 1), past=4, dropped=2)
    assert refused.value.status == "FAILED_PRECONDITION" and service.memory.nbytes == 0


X, Y = hidden(2, 3), hidden(2, 1)
LIMITS = Limits(tokens=64, cache_bytes=30_000)


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[tuple[SplitHost, str]]:
    folder = folder_of("llama", tmp_path_factory.mktemp("llama"))
    host = host_for(folder, "llama", CUT, tmp_path_factory.mktemp("state"), limits=LIMITS)
    yield host, host.start()
    host.stop(0)


def prefill(x: Tensor = X, **fields: object) -> list[bytes]:
    return ask(pb.OP_PREFILL, [x], **{"micros": [], "sequence": pb.Sequence(id=1), **fields})


def decode(x: Tensor = Y, past: int = 3, number: int = 2, rows: Rows | None = None, **fields: object) -> list[bytes]:
    more = {} if rows is None else {"rows": rows.message()}
    sequence = pb.Sequence(**{"id": 1, "past": past, **fields})
    return ask(pb.OP_DECODE, [x], number=number, micros=[], sequence=sequence, **more)


MASKED = Rows(1, (0, 0), (1, 1), masked=True)
LATE = Rows(2, (0, 1), (2, 1), masked=True)
HOSTILE = {
    "no sequence": (prefill(sequence=None), "INVALID_ARGUMENT"),
    "a sequence without an id": (prefill(sequence=pb.Sequence()), "INVALID_ARGUMENT"),
    "a sequence in a forward": (ask(pb.OP_FORWARD, [X], sequence=pb.Sequence(id=1)), "INVALID_ARGUMENT"),
    "a sequence in an inference": (ask(pb.OP_INFER, [X], sequence=pb.Sequence(id=1)), "INVALID_ARGUMENT"),
    "a bare forward": (ask(pb.OP_FORWARD, [X], bare=True), "INVALID_ARGUMENT"),
    "a prefill with a past": (prefill(sequence=pb.Sequence(id=1, past=3)), "INVALID_ARGUMENT"),
    "a prefill with an order": (prefill(sequence=pb.Sequence(id=1, order=[0, 1])), "INVALID_ARGUMENT"),
    "a decode without a past": (prefill() + decode(past=0), "INVALID_ARGUMENT"),
    "an order too short": (prefill() + decode(order=[0]), "INVALID_ARGUMENT"),
    "starts without a mask": (prefill() + decode(starts=[0, 0]), "INVALID_ARGUMENT"),
    "a mask without starts": (prefill() + decode(rows=MASKED), "INVALID_ARGUMENT"),
    "a start beyond the past": (prefill() + decode(rows=MASKED, starts=[0, 4]), "INVALID_ARGUMENT"),
    "padding between tokens": (prefill() + decode(hidden(1, 3), rows=LATE, starts=[0, 0]), "INVALID_ARGUMENT"),
    "global tokens": (
        prefill(rows=pb.Rows(width=3, starts=[0, 0], lengths=[3, 3], masked=True, global_tokens=[1])),
        "INVALID_ARGUMENT",
    ),
    "no tensor": (prefill()[:0] + ask(pb.OP_PREFILL, [], micros=[], sequence=pb.Sequence(id=1)), "INVALID_ARGUMENT"),
    "NaN": (prefill(hidden(value=float("nan"))), "INVALID_ARGUMENT"),
    "a decode of nothing": (decode(number=1), "FAILED_PRECONDITION"),
    "another past": (prefill() + decode(past=2), "FAILED_PRECONDITION"),
    "a huge past": (prefill() + decode(past=(1 << 32) - 1), "RESOURCE_EXHAUSTED"),
    "more dropped than there is": (prefill() + decode(dropped=(1 << 32) - 1), "FAILED_PRECONDITION"),
    "a row that is not there": (prefill() + decode(order=[0, (1 << 32) - 1]), "FAILED_PRECONDITION"),
    "rows that are not there": (prefill() + decode(hidden(3, 1)), "FAILED_PRECONDITION"),
    "too many columns": (prefill() + decode(past=32), "RESOURCE_EXHAUSTED"),
    "too much memory": (prefill(hidden(1, 64)), "RESOURCE_EXHAUSTED"),
    "the end of what never was": (ask(pb.OP_INFER, [X], ended=[5, 0, (1 << 32) - 1]), "OK"),
    "the end of what is asked for": (prefill() + decode(), "OK"),
}


@pytest.mark.parametrize("fault", HOSTILE)
def test_hostile_requests_are_refused_and_others_served(served, fault: str) -> None:
    host, address = served
    for client in ("mallory", "good"):
        host.begin(client, 1, 0.1, adapter_seed=1)
    sent, expected = HOSTILE[fault]
    heads = sum(pb.Frame.FromString(message).WhichOneof("part") == "request" for message in sent)
    first = hello(digest="llama", codec=Codec.FP32.number)
    replies = -1 if expected == "INVALID_ARGUMENT" else heads
    assert Raw(address, host.mint("mallory", 60), [first, *sent]).outcome(replies) == expected
    with SplitLink(address, host.mint("good", 60), link_settings("llama", CUT)) as link:
        assert link.infer(X).isfinite().all()
    for client in ("mallory", "good"):
        host.rollback(client)
    for _ in range(400):
        if host.held_bytes == 0:
            break
        time.sleep(0.01)
    assert host.held_bytes == 0


def test_a_model_that_does_not_generate_says_so(make_host) -> None:
    host = make_host()
    address = host.start()
    host.begin("ann", 1, 0.1, adapter_seed=1)
    assert Raw(address, host.mint("ann", 60), [hello(), *prefill()]).outcome(1) == "INVALID_ARGUMENT"
