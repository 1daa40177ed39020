"""What a thousand sessions leave behind that were opened and dropped in mid-request: held bytes, and memory."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path

import grpc
import torch

from benchmarks.child import child
from benchmarks.harness import Result, Size, main, progress, result
from benchmarks.hosting import RATE, SEED, TOKEN_SECONDS, Hosted, host_of
from benchmarks.models import save_model
from common.pb import split_pb2 as pb
from common.wire import CHANNEL_OPTIONS, METHOD, PROTOCOL, Codec, Rows, announce, encode, frames

CLIENTS = tuple(f"client {index}" for index in range(10))
ROWS, TOKENS = 16, 128
TARGET = 1.01
SETTLED = 10.0
"""Seconds in which everything must have been given back."""


def measure(size: Size) -> list[Result]:
    """The service's resident memory after the sessions, over that after a warm-up; and what is held then."""
    width, layers = size.pick((32, 3), (256, 4), (256, 4))
    warm_up, sessions = size.pick((10, 20), (200, 1000), (200, 1000))
    with tempfile.TemporaryDirectory() as root:
        folder = save_model(Path(root) / "model", "bert", width, layers, heads=2)
        hosted = Hosted(folder, width)
        with child(_serve, hosted) as (service, (address, tokens)):
            _drop(address, tokens, hosted, warm_up)
            before = _settled(service)
            _drop(address, tokens, hosted, sessions)
            after = _settled(service)
    held, open_sessions = after["held"], after["sessions"]
    return [
        result(
            f"memory after {sessions} sessions dropped in mid-request / after a warm-up of {warm_up}",
            after["memory"] / before["memory"],
            TARGET,
            "lower",
            "x",
            megabytes_before=before["memory"] / 1e6,
            megabytes_after=after["memory"] / 1e6,
        ),
        result("bytes held for clients after that", held, 0, "lower", "bytes", sessions_open=open_sessions),
    ]


def _drop(address: str, tokens: dict[str, str], hosted: Hosted, count: int) -> None:
    """Opens sessions, one for each client at once, and cuts them: in mid-message, and between forward and backward."""
    done = 0
    while done < count:
        calls = [
            _Call(address, tokens[client], hosted, whole=(done + place) % 2 == 1)
            for place, client in enumerate(CLIENTS)
        ]
        for call in calls:
            call.cut()
        done += len(calls)
    progress(f"  {done} sessions")


class _Call:
    """One session: a forward, of which ``whole`` sends all, and otherwise the header and the first chunk."""

    def __init__(self, address: str, token: str, hosted: Hosted, whole: bool) -> None:
        self._channel = grpc.insecure_channel(address, [*CHANNEL_OPTIONS, ("grpc.use_local_subchannel_pool", 1)])
        self._sent, self._over = threading.Event(), threading.Event()
        messages = self._messages(hosted, whole)
        self._call = self._channel.stream_stream(METHOD)(messages, metadata=[("authorization", f"Bearer {token}")])
        self._whole = whole

    def cut(self) -> None:
        """Waits until the request is as far as it shall get, and cuts the connection."""
        for message in self._call:
            if self._whole and pb.Frame.FromString(message).WhichOneof("part") == "welcome":
                continue
            break
        if not self._sent.wait(SETTLED):
            raise RuntimeError("the request was not sent")
        self._call.cancel()
        self._over.set()
        self._channel.close()

    def _messages(self, hosted: Hosted, whole: bool) -> Iterator[bytes]:
        cut = hosted.cut
        hello = pb.Hello(
            protocol=PROTOCOL,
            digest=str(hosted.folder),
            k=cut.k,
            m=cut.m,
            hidden_size=hosted.width,
            codec=Codec.FP32.number,
            training=True,
        )
        yield from frames(pb.Frame(hello=hello))
        hidden = torch.zeros(ROWS, TOKENS, hosted.width)
        rows = Rows.of(hidden, None, None)
        tokens = rows.pack(hidden)
        request = pb.Request(
            number=1,
            op=pb.OP_FORWARD,
            micros=[pb.Micro(id=1, forward=1)],
            rows=rows.message(),
            tensors=[announce(tokens, Codec.FP32)],
        )
        yield from islice(frames(pb.Frame(request=request), [encode(tokens, Codec.FP32)]), None if whole else 2)
        self._sent.set()
        self._over.wait(SETTLED)


def _settled(service: Connection) -> dict[str, float]:
    """What the service says once no session is open and nothing is held, or at the latest when that should be so."""
    begun, quiet = time.monotonic(), 0
    while True:
        service.send("look")
        found = service.recv()
        quiet = quiet + 1 if not (found["held"] or found["sessions"]) else 0
        # a second longer: the last session's threads end, and what is free goes back to the system, after it has ended
        if quiet == 20 or time.monotonic() - begun > SETTLED:
            return found
        time.sleep(0.05)


def _serve(connection: Connection, hosted: Hosted) -> None:
    with tempfile.TemporaryDirectory() as state:
        host = host_of(hosted, Path(state))
        address = host.start()
        for client in CLIENTS:
            host.begin(client, 1, RATE, SEED)
        connection.send((address, {client: host.mint(client, TOKEN_SECONDS) for client in CLIENTS}))
        try:
            while True:
                connection.recv()
                open_sessions = host.metrics.get_sample_value("fellrec_split_sessions")
                connection.send({"held": host.held_bytes, "sessions": open_sessions, "memory": _resident()})
        except EOFError:
            host.stop(0)


def _resident() -> int:
    """Bytes of this process in memory."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


if __name__ == "__main__":
    main("sessions", __doc__, measure)
