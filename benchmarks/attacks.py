"""What a client with a token may send that is worst for the others: each attack goes on until it is told to end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import grpc
import torch
from grpc_health.v1 import health_pb2, health_pb2_grpc

from common.pb import split_pb2 as pb
from common.wire import CHANNEL_OPTIONS, HEADER_BYTES, METHOD, PROTOCOL, Codec, Rows, announce, encode, frames

AT_ONCE = 8
"""Calls of an attack that are open at once."""

WATCHES = 25
SECONDS = 20.0
"""After which a call is given up."""


@dataclass(frozen=True)
class Aim:
    """The service that is attacked, and what it takes.

    Attributes
    ----------
    digest : of its model, cut at (1, 1). tokens, training_tokens, positions : its limits.
    """

    address: str
    token: str
    digest: str
    hidden: int
    tokens: int
    training_tokens: int
    positions: int

    @property
    def hello(self) -> list[bytes]:
        """The first message of a session that trains."""
        hello = pb.Hello(
            protocol=PROTOCOL,
            digest=self.digest,
            k=1,
            m=1,
            hidden_size=self.hidden,
            codec=Codec.FP32.number,
            training=True,
        )
        return list(frames(pb.Frame(hello=hello)))

    def ask(self, op: int, rows: Rows, number: int = 1, micro: int = 1, **fields: object) -> list[bytes]:
        """A request with its tensor."""
        hidden = torch.zeros(rows.tokens, self.hidden)
        micros = [] if op == pb.OP_INFER else [pb.Micro(id=micro, forward=number)]
        request = pb.Request(
            number=number,
            op=op,
            rows=rows.message(),
            tensors=[announce(hidden, Codec.FP32)],
            micros=micros,
            input_gradient=True,
            **fields,
        )
        return list(frames(pb.Frame(request=request), [encode(hidden, Codec.FP32)]))


Attack = Callable[[Aim, threading.Event], None]


def large(aim: Aim, over: threading.Event) -> None:
    """The largest requests that are taken, in all the sessions that are."""
    rows = _full(aim.tokens, min(aim.positions, aim.tokens))
    _sessions(aim, over, aim.hello + [part for n in range(1, 5) for part in aim.ask(pb.OP_INFER, rows, n)])


def wide(aim: Aim, over: threading.Event) -> None:
    """Rows of all widths with a token each: refused, or as wide as they may be."""
    sent = []
    for width in (aim.positions, 2048, 24_576):
        count = max(1, aim.tokens // width)
        rows = Rows(width, (0,) * count, (max(1, width // 60),) * count, masked=True)
        sent.append(aim.hello + aim.ask(pb.OP_INFER, rows))
    _sessions(aim, over, *sent)


def tiny(aim: Aim, over: threading.Event) -> None:
    """Requests of a single token, as fast as they are answered."""
    asked = [part for n in range(1, 400) for part in aim.ask(pb.OP_INFER, _full(1, 1), n)]
    _sessions(aim, over, aim.hello + asked, replies=400)


def held(aim: Aim, over: threading.Event) -> None:
    """Forwards whose graphs are held and never used, as many as a step may have and more."""
    rows = _full(aim.training_tokens, min(aim.positions, aim.training_tokens))
    forwards = [part for n in range(1, 9) for part in aim.ask(pb.OP_FORWARD, rows, n, micro=n)]
    _sessions(aim, over, aim.hello + forwards)


def deaf(aim: Aim, over: threading.Event) -> None:
    """Sessions that ask for large replies and read none of them."""
    rows = _full(aim.tokens, min(aim.positions, aim.tokens))
    messages = aim.hello + [part for n in range(1, 5) for part in aim.ask(pb.OP_INFER, rows, n)]
    channels = []
    for _ in range(AT_ONCE):
        channel = _channel(aim)
        channels.append((channel, _call(channel, aim.token, messages, over)))
    over.wait()
    for channel, call in channels:
        call.cancel()
        channel.close()


def texts(aim: Aim, over: threading.Event) -> None:
    """Headers as long as they may be, and longer, whose fields a refusal might repeat."""
    rows = _full(60, 60)
    shape = pb.Tensor(shape=[1 << 31] * (HEADER_BYTES // 8))
    request = pb.Request(number=1, op=pb.OP_INFER, rows=rows.message(), tensors=[shape])
    ended = pb.Request(number=1, op=pb.OP_INFER, rows=rows.message(), ended=range(HEADER_BYTES // 4))
    long = pb.Hello(protocol=PROTOCOL, digest="x" * (HEADER_BYTES - 100))
    longer = pb.Hello(protocol=PROTOCOL, digest="y" * ((4 << 20) - 100))
    _sessions(
        aim,
        over,
        aim.hello + list(frames(pb.Frame(request=request))),
        aim.hello + list(frames(pb.Frame(request=ended))),
        list(frames(pb.Frame(hello=long))),
        list(frames(pb.Frame(hello=longer))),
    )


def unfinished(aim: Aim, over: threading.Event) -> None:
    """Requests whose tensors never come, and sessions that never begin."""
    rows = _full(aim.tokens, min(aim.positions, aim.tokens))
    _sessions(aim, over, aim.hello + aim.ask(pb.OP_INFER, rows)[:1], [], linger=1.0)


def uninvited(aim: Aim, over: threading.Event) -> None:
    """Callers without a token: sessions, and health watches of names of their own making."""
    while not over.is_set():
        with _channel(aim) as channel:
            stub = health_pb2_grpc.HealthStub(channel)
            asked = health_pb2.HealthCheckRequest(service="z" * (1 << 20))
            calls = [stub.Watch(asked) for _ in range(WATCHES)]
            calls += [channel.stream_stream(METHOD)(iter(aim.hello)) for _ in range(WATCHES)]
            over.wait(0.2)
            for call in calls:
                call.cancel()


ATTACKS: dict[str, Attack] = {
    attack.__name__: attack for attack in (large, wide, tiny, held, deaf, texts, unfinished, uninvited)
}


def _full(cells: int, width: int) -> Rows:
    count = max(1, cells // width)
    return Rows(width, (0,) * count, (width,) * count)


def _sessions(
    aim: Aim, over: threading.Event, *sent: Sequence[bytes], linger: float = SECONDS, replies: int = 4
) -> None:
    """Session after session, ``AT_ONCE`` of them, until the end; each of these messages in turn."""

    live: dict[int, grpc.Call] = {}

    def one(place: int) -> None:
        turn = place
        while not over.is_set():
            with _channel(aim) as channel, suppress(grpc.RpcError):
                ended = threading.Event()
                live[place] = call = _call(channel, aim.token, sent[turn % len(sent)], ended, linger)
                try:
                    for count, _ in enumerate(call):
                        if over.is_set() or count >= replies:
                            break
                finally:
                    ended.set()
                    call.cancel()
            turn += 1

    threads = [threading.Thread(target=one, args=(place,), daemon=True) for place in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    over.wait()
    while any(thread.is_alive() for thread in threads):
        for call in list(live.values()):
            call.cancel()
        time.sleep(0.01)


def _channel(aim: Aim) -> grpc.Channel:
    return grpc.insecure_channel(aim.address, [*CHANNEL_OPTIONS, ("grpc.use_local_subchannel_pool", 1)])


def _call(
    channel: grpc.Channel, token: str, messages: Sequence[bytes], ended: threading.Event, linger: float = SECONDS
) -> grpc.Call:
    def outgoing() -> Iterator[bytes]:
        yield from messages
        ended.wait(linger)

    return channel.stream_stream(METHOD)(
        outgoing(), metadata=[("authorization", f"Bearer {token}")], timeout=linger + SECONDS
    )
