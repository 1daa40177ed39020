"""Whatever a caller sends, it gets the right status, nothing crashes or stays held, and others are served."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import grpc
import pytest
import torch

from client_app.link import SplitLink
from common.cut import Cut
from common.errors import SplitError
from common.line import LINE
from common.pb import split_pb2 as pb
from common.wire import CHUNK_BYTES, MESSAGE_BYTES, Codec
from server_app.split.host import SplitHost
from server_app.split.settings import Limits
from server_app.split.tokens import Mint
from tests.server_app.split.raw import Raw, ask, hello, hidden, messages, request
from tests.server_app.split.tiny import host_for, link_settings

LIMITS = Limits(tokens=64, micro_batches=2, payload_seconds=1.0, padding=6.0)
X = hidden()


@pytest.fixture(scope="module")
def served(folders, tmp_path_factory) -> Iterator[tuple[SplitHost, str]]:
    host = host_for(folders["bert"], "bert", Cut(1, 1), tmp_path_factory.mktemp("hostile"), limits=LIMITS)
    address = host.start()
    yield host, address
    host.stop(0)


@pytest.fixture
def mallory(served) -> Iterator[Callable[..., str]]:
    """Sends messages after a good Hello as a client with an open round; the outcome. Then a good client is served."""
    host, address = served
    host.begin("mallory", 1, 0.1, adapter_seed=1)
    host.begin("good", 1, 0.1, adapter_seed=1)
    before = host.adapter("mallory")

    def attack(sent: list[bytes], first: bytes | None = None, replies: int = -1) -> str:
        flat = [hello() if first is None else first, *sent]
        return Raw(address, host.mint("mallory", 60), flat, lingers=sent != CUT_SHORT).outcome(replies)

    yield attack
    with SplitLink(address, host.mint("good", 60), link_settings("bert", Cut(1, 1))) as link:
        assert link.infer(X).isfinite().all()
    settled(host)
    host.rollback("mallory")
    host.rollback("good")
    after = host.adapter("mallory")
    assert all(torch.equal(tensor, before[name]) for name, tensor in after.items())


def settled(host: SplitHost) -> None:
    """Waits until nothing is held."""
    for _ in range(400):
        if host.held_bytes == 0:
            return
        time.sleep(0.01)
    assert host.held_bytes == 0


def changed(**fields: object) -> list[bytes]:
    """A forward whose announced tensor has other fields."""
    asked = request(pb.OP_FORWARD, [X])
    for name, value in fields.items():
        if name == "shape":
            del asked.tensors[0].shape[:]
            asked.tensors[0].shape.extend(value)
        else:
            setattr(asked.tensors[0], name, value)
    return messages(asked, [X])


FORWARD = ask(pb.OP_FORWARD, [X])
STEP = FORWARD + ask(pb.OP_BACKWARD, [X], number=2)
CUT_SHORT = FORWARD[:1]
INVALID = {
    "rank 3": changed(shape=[2, 3, 32]),
    "rank 0": changed(shape=[]),
    "wrong width": changed(shape=[6, 31]),
    "wrong count": changed(shape=[7, 32]),
    "huge shape": changed(shape=[4_000_000_000, 4_000_000_000]),
    "wrong dtype": changed(dtype=pb.DTYPE_FLOAT16),
    "no dtype": changed(dtype=0),
    "unknown dtype": changed(dtype=77),
    "other codec": changed(codec=Codec.BF16.number),
    "unknown codec": changed(codec=99),
    "too few bytes announced": changed(nbytes=4),
    "too many bytes announced": changed(nbytes=1 << 60),
    "NaN": ask(pb.OP_FORWARD, [hidden(value=float("nan"))]),
    "infinity": ask(pb.OP_FORWARD, [hidden(value=float("inf"))]),
    "unknown op": ask(77, [X]),
    "no op": ask(0, [X]),
    "no number": ask(pb.OP_FORWARD, [X], number=0),
    "no micro-batch": ask(pb.OP_FORWARD, [X], micros=[]),
    "no tensor": messages(request(pb.OP_FORWARD, [X], tensors=[])),
    "a tensor too many": ask(pb.OP_FORWARD, [X, X]),
    "no rows": ask(pb.OP_FORWARD, [X], rows=pb.Rows()),
    "row beyond the width": ask(pb.OP_FORWARD, [X], rows=pb.Rows(width=3, starts=[1, 0], lengths=[3, 3], masked=True)),
    "row without a token": ask(pb.OP_FORWARD, [X], rows=pb.Rows(width=6, starts=[0, 0], lengths=[6, 0], masked=True)),
    "padding without a mask": ask(pb.OP_FORWARD, [X], rows=pb.Rows(width=4, starts=[0, 0], lengths=[3, 3])),
    "positions missing": ask(pb.OP_FORWARD, [X], rows=pb.Rows(width=3, starts=[0, 0], lengths=[3, 3], positions=[1])),
    "wider than the model reads": ask(pb.OP_FORWARD, [X], rows=pb.Rows(width=41, starts=[0], lengths=[6], masked=True)),
    "mostly padding": ask(pb.OP_FORWARD, [X], rows=pb.Rows(width=40, starts=[0], lengths=[6], masked=True)),
    "more positions than cells": ask(
        pb.OP_FORWARD, [X], rows=pb.Rows(width=3, starts=[0, 0], lengths=[3, 3], positions=[0] * 200_000)
    ),
    "very many dimensions": changed(shape=[9] * 400_000),
    "more sequences ended than one holds": ask(pb.OP_FORWARD, [X], ended=range(65)),
    "a header of more than its limit": ask(pb.OP_FORWARD, [X], ended=range(1 << 20)),
    "global token nowhere": ask(
        pb.OP_FORWARD, [X], rows=pb.Rows(width=3, starts=[0, 0], lengths=[3, 3], masked=True, global_tokens=[9])
    ),
    "chunk from nowhere": [FORWARD[1]],
    "chunk too many": [*FORWARD, FORWARD[1]],
    "chunk too long": [FORWARD[0], pb.Frame(chunk=bytes(CHUNK_BYTES + 1)).SerializeToString()],
    "chunk without bytes": [FORWARD[0], pb.Frame(chunk=b"").SerializeToString()],
    "more within the header than announced": messages(request(pb.OP_FORWARD, [X], inline=bytes(X.nbytes + 1))),
    "more than a chunk within the header": messages(request(pb.OP_FORWARD, [X], inline=bytes(CHUNK_BYTES + 1))),
    "header within a message": [FORWARD[0], FORWARD[0]],
    "an end within a message": CUT_SHORT,
    "second hello": [hello()],
    "a welcome": [pb.Frame(welcome=pb.Welcome()).SerializeToString()],
    "a reply": [pb.Frame(reply=pb.Reply()).SerializeToString()],
    "no frame": [b"\xff\xff\xff"],
    "empty frame": [b""],
    "broken chunk": [b"\x7a\xff\xff\xff\xff\xff\xff\xff"],
}


@pytest.mark.parametrize("fault", INVALID)
def test_a_message_that_is_not_what_it_must_be(mallory, fault: str) -> None:
    assert mallory(INVALID[fault]) == "INVALID_ARGUMENT"


WRONG_TIME = {
    "a step ahead": (ask(pb.OP_FORWARD, [X], step=1), "FAILED_PRECONDITION"),
    "far ahead": (ask(pb.OP_FORWARD, [X], step=1 << 63), "FAILED_PRECONDITION"),
    "a step without gradients": (ask(pb.OP_STEP), "FAILED_PRECONDITION"),
    "a backward without a forward": (ask(pb.OP_BACKWARD, [X]), "INPUT_WANTED"),
    "a backward of a newer forward": (
        FORWARD + ask(pb.OP_BACKWARD, [X], number=2, micros=[pb.Micro(id=1, forward=9)]),
        "INPUT_WANTED",
    ),
    "a forward that is overtaken": (ask(pb.OP_FORWARD, [X], number=5) + FORWARD, "FAILED_PRECONDITION"),
    "a step made twice": (STEP + ask(pb.OP_STEP, number=3) + ask(pb.OP_STEP, number=4), "FAILED_PRECONDITION"),
    "a step with a NaN rate": (STEP + ask(pb.OP_STEP, number=3, learning_rate=float("nan")), "INVALID_ARGUMENT"),
    "a step with a negative rate": (STEP + ask(pb.OP_STEP, number=3, learning_rate=-1.0), "INVALID_ARGUMENT"),
    "a step of nothing": (ask(pb.OP_STEP, micros=[]), "INVALID_ARGUMENT"),
    "too many micro-batches": (
        [message for id in (1, 2, 3) for message in ask(pb.OP_FORWARD, [X], number=id, micros=[pb.Micro(id=id)])],
        "RESOURCE_EXHAUSTED",
    ),
    "too many tokens": (ask(pb.OP_FORWARD, [hidden(13, 5)]), "RESOURCE_EXHAUSTED"),
    "a message too long": ([b"\x7a" + bytes(MESSAGE_BYTES)], "RESOURCE_EXHAUSTED"),
}


@pytest.mark.parametrize("fault", WRONG_TIME)
def test_a_message_that_comes_at_the_wrong_time(mallory, fault: str) -> None:
    sent, expected = WRONG_TIME[fault]
    requests = sum(message[:1] == FORWARD[0][:1] for message in sent)
    assert mallory(sent, replies=requests) == expected


HELLOS = {
    "other protocol": (hello(protocol=2), "FAILED_PRECONDITION"),
    "other model": (hello(digest="other"), "FAILED_PRECONDITION"),
    "other configuration": (hello(config="other"), "FAILED_PRECONDITION"),
    "other cut": (hello(k=2), "FAILED_PRECONDITION"),
    "other size": (hello(hidden_size=64), "FAILED_PRECONDITION"),
    "no codec": (hello(codec=0), "INVALID_ARGUMENT"),
    "no hello": (FORWARD[0], "INVALID_ARGUMENT"),
    "training in a session that does not": (hello(training=False), "PERMISSION_DENIED"),
}


@pytest.mark.parametrize("fault", HELLOS)
def test_a_hello_that_does_not_fit(mallory, fault: str) -> None:
    first, expected = HELLOS[fault]
    assert mallory(FORWARD, first=first) == expected


def test_a_message_that_does_not_go_on_ends_the_session(served) -> None:
    host, address = served
    host.begin("slow", 1, 0.1, adapter_seed=1)
    assert Raw(address, host.mint("slow", 60), [hello(), FORWARD[0]]).outcome() == "DEADLINE_EXCEEDED"
    settled(host)
    # as does one that never begins
    assert Raw(address, host.mint("slow", 60), []).outcome() == "DEADLINE_EXCEEDED"
    host.rollback("slow")


def test_callers_without_a_right_to_call(served, tmp_path) -> None:
    host, address = served
    host.begin("ann", 1, 0.1, adapter_seed=1)
    good = host.mint("ann", 60)
    text, signature = good.split(".")
    for token in (
        "",
        "nonsense",
        "a.b",
        f"{text}.{signature[:-1]}",
        f"{text[:-4]}AAAA.{signature}",
        Mint("test", tmp_path).mint("ann", 60),
    ):
        assert Raw(address, token, [hello()]).outcome() == "UNAUTHENTICATED"
    expired = host.mint("ann", 0.01)
    time.sleep(0.02)
    assert Raw(address, expired, [hello()]).outcome() == "UNAUTHENTICATED"
    assert Raw(address, host.mint("ann", 60, training=False), [hello()]).outcome() == "PERMISSION_DENIED"
    assert Raw(address, host.mint("new", 60), [hello()]).outcome() == "FAILED_PRECONDITION"
    # its round is over
    host.commit("ann", 1)
    assert Raw(address, good, [hello()]).outcome() == "UNAUTHENTICATED"


def test_a_session_ends_with_its_token(served) -> None:
    host, address = served
    host.begin("ann", 2, 0.1, adapter_seed=1)
    assert Raw(address, host.mint("ann", 0.2), [hello()]).outcome() == "UNAUTHENTICATED"
    rolled_back = Raw(address, host.mint("ann", 60), [hello()])
    assert next(rolled_back.heads()).welcome.round == 2
    host.rollback("ann")
    assert rolled_back.outcome() == "UNAUTHENTICATED"


def test_a_client_reaches_nothing_of_another(served) -> None:
    host, address = served
    host.begin("ann", 3, 0.1, adapter_seed=1)
    host.begin("bob", 3, 0.1, adapter_seed=2)
    settings = link_settings("bert", Cut(1, 1))
    with SplitLink(address, host.mint("ann", 60), settings) as ann:
        _, sent = ann.forward(X)
        # the same micro-batch, named by another caller
        stolen = Raw(address, host.mint("bob", 60), [hello(), *ask(pb.OP_BACKWARD, [X], micros=[sent.name])])
        assert stolen.outcome(replies=1) == "INPUT_WANTED"
        ann.backward(sent, X)
        ann.step()
    host.commit("ann", 3)
    host.rollback("bob")


def test_two_sessions_of_one_client_cannot_both_train(served) -> None:
    host, address = served
    host.begin("ann", 4, 0.1, adapter_seed=1)
    gate = threading.Event()

    class Late(list):
        def __iter__(self) -> Iterator[bytes]:
            yield hello()
            gate.wait(10)
            yield from FORWARD

    raw = Raw(address, host.mint("ann", 60), Late())
    heads = raw.heads()
    assert next(heads).WhichOneof("part") == "welcome"
    with SplitLink(address, host.mint("ann", 60), link_settings("bert", Cut(1, 1))) as link:
        _, sent = link.forward(X)
        gate.set()
        assert next(heads).reply.status == pb.STATUS_ABORTED
        link.backward(sent, X)
        assert link.step() == 1
    raw.close()
    host.rollback("ann")


def test_sessions_beyond_a_limit_are_refused(make_host) -> None:
    host = make_host(limits=Limits(sessions=3, sessions_per_client=2))
    address = host.start()
    for client in ("ann", "bob"):
        host.begin(client, 1, 0.1, adapter_seed=1)
    held = [Raw(address, host.mint(client, 60), [hello()]) for client in ("ann", "ann", "bob")]
    for raw in held:
        next(raw.heads())
    for client in ("ann", "bob"):
        assert Raw(address, host.mint(client, 60), [hello()]).outcome() == "RESOURCE_EXHAUSTED"
    for raw in held:
        raw.close()


TEXTS = {
    "a digest": [hello(digest="x" * 900_000)],
    "a shape": [hello(), *changed(shape=[4_000_000_000] * 180_000)],
    "a header": [hello(digest="x" * 3_000_000)],
    "an order": [hello(), *ask(pb.OP_DECODE, [X], sequence=pb.Sequence(id=1, past=1, order=[7] * 900_000))],
}


@pytest.mark.parametrize("text", TEXTS)
def test_what_a_caller_sent_is_not_told_at_length(served, caplog: pytest.LogCaptureFixture, text: str) -> None:
    host, address = served
    host.begin("ann", 6, 0.1, adapter_seed=1)
    with caplog.at_level(logging.INFO, "fellrec.split"):
        for _ in range(3):
            raw = Raw(address, host.mint("ann", 60), TEXTS[text])
            with pytest.raises(grpc.RpcError) as caught:
                list(raw.heads())
            assert 0 < len(caught.value.details()) < 3 * LINE
            raw.close()
    host.rollback("ann")
    assert max(len(record.getMessage()) for record in caplog.records) < 4 * LINE
    assert sum(len(text) for key in host._refusals._told for text in key) < 4 * LINE * len(host._refusals._told)


def test_a_request_that_would_take_too_long_is_refused_by_the_name_of_the_setting(make_host) -> None:
    host = make_host(limits=Limits(pass_seconds=10.0))
    address = host.start()
    host.begin("ann", 1, 0.1, adapter_seed=1)
    # as on a machine that computes one cell in a second
    host._engine.speed.note(1, 1.0)
    host._engine.speed.note = lambda charge, seconds: None
    with SplitLink(address, host.mint("ann", 60), link_settings("bert", Cut(1, 1))) as link:
        assert link.infer(hidden(1, 3)).isfinite().all()
        with pytest.raises(SplitError, match="'split.limits.pass-seconds' = 10") as caught:
            link.infer(hidden(4, 5))
        assert "INVALID_ARGUMENT" in str(caught.value)


def test_memory_beyond_the_limit_is_refused(make_host) -> None:
    host = make_host(limits=Limits(held_bytes=1000))
    address = host.start()
    host.begin("ann", 1, 0.1, adapter_seed=1)
    assert Raw(address, host.mint("ann", 60), [hello(), *FORWARD]).outcome() == "RESOURCE_EXHAUSTED"
    settled(host)


def test_thousands_of_random_frames(served) -> None:
    host, address = served
    host.begin("mallory", 9, 0.1, adapter_seed=1)
    token, dice = host.mint("mallory", 600), random.Random(5)
    good = [hello(), *FORWARD, *ask(pb.OP_BACKWARD, [X], number=2), *ask(pb.OP_STEP, number=3)]
    outcomes = set()
    for _ in range(600):
        session = [hello()] if dice.random() < 0.9 else []
        # most are right: a session ends with its first wrong frame
        for _ in range(dice.randrange(1, 12)):
            session.append(disturbed(dice.choice(good), dice) if dice.random() < 0.3 else dice.choice(good))
        outcomes.add(Raw(address, token, session, lingers=False).outcome())
    assert "INVALID_ARGUMENT" in outcomes
    assert not outcomes & {"INTERNAL", "UNKNOWN", "UNAVAILABLE"}
    settled(host)
    host.load_adapter("good", host.adapter("mallory"))
    with SplitLink(address, host.mint("good", 60), link_settings("bert", Cut(1, 1), training=False)) as link:
        assert link.infer(X).isfinite().all()
    host.rollback("mallory")


@pytest.mark.slow
def test_ten_thousand_random_frames_disturb_nobody(make_host) -> None:
    host, quiet = make_host(limits=LIMITS, batch_clients=1), make_host(state="quiet", limits=LIMITS, batch_clients=1)
    expected = next(good_steps(quiet, quiet.start()))
    address = host.start()
    host.begin("mallory", 1, 0.1, adapter_seed=1)
    token, dice = host.mint("mallory", 600), random.Random(11)
    good = [hello(), *FORWARD, *ask(pb.OP_BACKWARD, [X], number=2), *ask(pb.OP_STEP, number=3), *ask(pb.OP_INFER, [X])]
    outcomes: Counter[str] = Counter()
    sent = served = 0
    steps = good_steps(host, address)
    while sent < 10_000:
        # right frames keep a session alive, so that wrong ones come in every state it can be in
        session = [hello()] + [
            disturbed(dice.choice(good), dice) if dice.random() < 0.5 else dice.choice(good) for _ in range(20)
        ]
        sent += len(session)
        outcomes[Raw(address, token, session, lingers=False).outcome()] += 1
        if outcomes.total() % 20 == 0:
            found = next(steps)
            assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))
            served += 1
    assert served >= 20 and outcomes["INVALID_ARGUMENT"] > 100
    assert not outcomes.keys() & {"INTERNAL", "UNKNOWN", "UNAVAILABLE", "none"}
    settled(host)
    host.rollback("mallory")


def good_steps(host: SplitHost, address: str) -> Iterator[list[torch.Tensor]]:
    """A good client's training round, again and again: what it saw, and the adapter that was committed."""
    number, begun = 0, None
    while True:
        number += 1
        if begun is not None:
            host.load_adapter("good", begun)
        host.begin("good", number, 0.1, adapter_seed=3, fresh_optimiser=True)
        begun = host.adapter("good")
        seen = []
        with SplitLink(address, host.mint("good", 60), link_settings("bert", Cut(1, 1))) as link:
            for _ in range(2):
                output, named = link.forward(X)
                seen += [output, link.backward(named, X)]
                link.step()
        host.commit("good", number)
        yield [*seen, *host.adapter("good").values()]


def disturbed(frame: bytes, dice: random.Random) -> bytes:
    """Random bytes, or a frame with some bytes changed or its end cut off."""
    changed = bytearray(frame)
    match dice.randrange(3):
        case 0:
            return dice.randbytes(dice.randrange(1, 200))
        case 1:
            for _ in range(dice.randrange(1, 4)):
                changed[dice.randrange(len(changed))] = dice.randrange(256)
        case 2:
            del changed[dice.randrange(len(changed)) :]
    return bytes(changed)
