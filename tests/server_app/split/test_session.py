"""server_app/split/session.py: sessions that take nothing are cut, end with their round, and stand in nobody's way."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from client_app.link import SplitLink
from common.cut import Cut
from common.pb import split_pb2 as pb
from common.wire import CHANNEL_OPTIONS, CHUNK_BYTES, METHOD, Refused
from server_app.split import session
from server_app.split.host import SPARE_THREADS, SplitHost
from server_app.split.memory import HeldMemory, Kind
from server_app.split.settings import Limits
from tests.server_app.split.raw import Raw, ask, hello, hidden, request
from tests.server_app.split.tiny import link_settings

CUT = Cut(1, 1)
LARGE = hidden(2048, 30)
"""Its reply, 8 MB, is more than the buffers between service and caller hold."""


class Deaf:
    """A caller that sends and never takes what comes: its messages are not asked for, so its window fills."""

    def __init__(self, address: str, token: str, sent: list[bytes]) -> None:
        options = [
            *CHANNEL_OPTIONS,
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.http2.bdp_probe", 0),
            ("grpc.http2.lookahead_bytes", 65_535),
        ]
        self._channel, self._over = grpc.insecure_channel(address, options), threading.Event()

        def outgoing():
            yield from sent
            self._over.wait(30)

        self._call = self._channel.stream_stream(METHOD)(outgoing(), metadata=[("authorization", f"Bearer {token}")])

    def close(self) -> None:
        self._over.set()
        self._call.cancel()
        self._channel.close()


def until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    """Waits for it."""
    ends = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends, "it did not come true"
        time.sleep(0.01)


def sessions(host: SplitHost) -> float:
    return host.metrics.get_sample_value("fellrec_split_sessions")


def stuck(host: SplitHost) -> bool:
    return any(one._sending_since is not None for one in host._sessions)


def test_replies_that_nobody_takes_have_a_deadline_and_give_their_memory_back(make_host, caplog) -> None:
    host = make_host(limits=Limits(tokens=1 << 17, reply_seconds=1.0))
    address = host.start()
    host.begin("ann", 1, 0.1, adapter_seed=1)
    with caplog.at_level(logging.INFO, "fellrec.split"):
        deaf = Deaf(address, host.mint("ann", 60), [hello(training=False), *in_chunks(pb.OP_INFER)])
        until(lambda: stuck(host))
        assert host.held_bytes > 0
        until(lambda: sessions(host) == 0 and host.held_bytes == 0)
    deaf.close()
    assert any("split.limits.reply-seconds" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("end", ["commit", "rollback", "begin"])
def test_a_rounds_end_closes_sessions_that_take_nothing(make_host, monkeypatch, end: str) -> None:
    monkeypatch.setattr(session, "GRACE", 0.2)
    host = make_host(limits=Limits(tokens=1 << 17, sessions_per_client=1))
    address = host.start()
    host.begin("ann", 1, 0.1, adapter_seed=1)
    deaf = Deaf(address, host.mint("ann", 60), [hello(training=False), *in_chunks(pb.OP_INFER)])
    until(lambda: stuck(host))
    if end == "begin":
        host.begin("ann", 2, 0.1, adapter_seed=1)
    else:
        getattr(host, end)("ann", 1)
        host.begin("ann", 2, 0.1, adapter_seed=1)
    # its own client's next session is let in at once
    with SplitLink(address, host.mint("ann", 60), link_settings("bert", CUT, attempts=1)) as link:
        assert link.infer(hidden()).isfinite().all()
        until(lambda: sessions(host) == 1)
    deaf.close()
    until(lambda: host.held_bytes == 0)


def test_a_session_that_was_left_behind_gives_way_to_its_clients_next_one(make_host, monkeypatch) -> None:
    monkeypatch.setattr(session, "IDLE", 0.3)
    host = make_host(limits=Limits(sessions_per_client=1))
    address = host.start()
    host.begin("ann", 1, 0.1, adapter_seed=1)
    left = Raw(address, host.mint("ann", 60), [hello()])
    heads = left.heads()
    next(heads)
    assert Raw(address, host.mint("ann", 60), [hello()]).outcome() == "RESOURCE_EXHAUSTED"
    time.sleep(0.4)
    with SplitLink(address, host.mint("ann", 60), link_settings("bert", CUT, attempts=1)) as link:
        link.connect()
    assert left.outcome() == "UNAVAILABLE"


def test_a_client_has_one_share_under_all_its_names(make_host) -> None:
    host = make_host(limits=Limits(sessions_per_client=2))
    address = host.start()
    held = []
    for name in ("ann", "ann@0.5", "ann@1"):
        host.begin(name, 1, 0.1, adapter_seed=1)
    for name in ("ann", "ann@0.5"):
        held.append(Raw(address, host.mint(name, 60, owner="ann"), [hello()]))
        next(held[-1].heads())
    assert Raw(address, host.mint("ann@1", 60, owner="ann"), [hello()]).outcome() == "RESOURCE_EXHAUSTED"
    for raw in held:
        raw.close()


def test_replies_have_a_budget(make_host) -> None:
    host = make_host(limits=Limits(reply_bytes=100))
    address = host.start()
    host.begin("ann", 1, 0.1, adapter_seed=1)
    raw = Raw(address, host.mint("ann", 60), [hello(training=False), *ask(pb.OP_INFER, [hidden()])])
    heads = raw.heads()
    next(heads)
    reply = next(heads).reply
    assert reply.status == pb.STATUS_RESOURCE_EXHAUSTED and "'split.limits.reply-bytes' = 100" in reply.message
    raw.close()


def test_all_replies_together_have_a_budget() -> None:
    limits = Limits(tokens=10, reply_bytes=400, all_reply_bytes=500)
    memory = HeldMemory(1 << 30, limits.per_client(4), limits.per_kind(4))
    held = memory.take("ann", Kind.REPLY, 400)
    with pytest.raises(Refused, match="all-reply-bytes' = 500"):
        memory.take("bob", Kind.REPLY, 101)
    with pytest.raises(Refused, match="'split.limits.message-bytes' = 320"):
        memory.take("ann", Kind.MESSAGE, 321)
    held.release()
    assert memory.take("bob", Kind.REPLY, 101).nbytes == memory.nbytes == 101


def test_nobody_can_hold_a_stream_open_without_a_token(make_host) -> None:
    host = make_host()
    address = host.start()
    before = threading.active_count()
    with grpc.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        watches = [stub.Watch(health_pb2.HealthCheckRequest(service="x" * 1000 + str(n))) for n in range(100)]
        for watch in watches:
            with pytest.raises(grpc.RpcError) as caught:
                next(watch)
            assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
        sessions = [channel.stream_stream(METHOD)(iter(())) for _ in range(100)]
        assert {one.code() for one in sessions} <= {grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert stub.Check(health_pb2.HealthCheckRequest(), timeout=5).status == health_pb2.HealthCheckResponse.SERVING
        names = [thread.name for thread in threading.enumerate() if thread.name.startswith("fellrec-split-grpc")]
        assert len(names) <= Limits().sessions + SPARE_THREADS and threading.active_count() - before < 200
    assert not host._health._send_response_callbacks


def in_chunks(op: int) -> list[bytes]:
    """A request for a large reply."""
    data = LARGE.contiguous().numpy().tobytes()
    head = pb.Frame(request=request(op, [LARGE])).SerializeToString()
    return [
        head,
        *(pb.Frame(chunk=data[at : at + CHUNK_BYTES]).SerializeToString() for at in range(0, len(data), CHUNK_BYTES)),
    ]
