"""Round trips of tensors through the split service, hosted layers that compute nothing, against a plain unary protobuf
service and a raw socket; and how long a health check takes while such traffic goes on.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from statistics import median, quantiles

import grpc
import torch
from grpc_health.v1 import health_pb2, health_pb2_grpc
from torch import Tensor

from benchmarks.child import KEEP_MEMORY, child, wait
from benchmarks.harness import Result, Size, interleaved, main, milliseconds, ratio_of, result
from benchmarks.hosting import Door, Hosted, service
from benchmarks.naive import UNLIMITED, raw, serve, unary

WIDTH = 1024
MIB = 1 << 20
LARGEST = 16
BYTES, FLOATS = "naive unary protobuf, bytes", "naive unary protobuf, repeated float"
NAIVE_TARGET, RAW_TARGET, HEALTH_TARGET = 2.5, 3.0, 50.0
PAUSE = 0.02
"""Seconds between two health checks."""


def measure(size: Size) -> list[Result]:
    """Round trips of each size, and in the full form of the largest with higher malloc thresholds; then health."""
    sizes = size.pick((1,), (1, 4, LARGEST), (1, 4, LARGEST))
    ways = [({}, sizes, "")]
    if size is Size.FULL:
        ways.append((KEEP_MEMORY, sizes[-1:], ", malloc thresholds 1 GiB"))
    results = []
    for environment, chosen, note in ways:
        # the client's side in a process of its own too: thresholds are read when a process begins
        with child(_round_trips, size, chosen, note, environment=environment) as (connection, _):
            results += connection.recv()
    return [*results, _health(size)]


def _round_trips(connection: Connection, size: Size, sizes: Sequence[int], note: str) -> None:
    connection.send("begun")
    results = []
    with ExitStack() as stack:
        _, (grpc_port, raw_port) = stack.enter_context(child(serve))
        door = stack.enter_context(service(Hosted(None, WIDTH), ["client"]))
        (link,) = stack.enter_context(door.links())
        channel = stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{grpc_port}", UNLIMITED))
        connected = stack.enter_context(socket.create_connection(("127.0.0.1", raw_port)))
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        calls = {"split": link.infer, "raw socket": raw(connected), BYTES: unary(channel, "Bytes")}
        for mib in sizes:
            results += _compare(calls, mib, size.pick(2, 12, 100), note)
        if not note:
            floats = {"split": link.infer, FLOATS: unary(channel, "Floats")}
            # seconds each: a few repetitions show it
            results += _compare(floats, sizes[-1], size.pick(1, 1, 5), note)
    connection.send(results)


def _compare(
    calls: Mapping[str, Callable[[Tensor], Tensor]], mib: int, repetitions: int, note: str
) -> Iterator[Result]:
    tensor = torch.randn(1, mib * MIB // (4 * WIDTH), WIDTH, generator=torch.Generator().manual_seed(0))
    for name, call in calls.items():
        if not torch.equal(call(tensor), tensor):
            raise RuntimeError(f"{name}: what came back is not what was sent")
    seconds = interleaved({name: (lambda call=call: call(tensor)) for name, call in calls.items()}, repetitions)
    for name in (name for name in calls if name != "split"):
        faster = name != "raw socket"
        over, under = (name, "split") if faster else ("split", name)
        ratio, quartiles = ratio_of(seconds[over], seconds[under])
        target = None if mib != LARGEST else NAIVE_TARGET if faster else RAW_TARGET
        yield result(
            f"{mib} MiB, {over} / {under}{note}",
            ratio,
            target,
            "higher" if faster else "lower",
            "x",
            quartiles=quartiles,
            milliseconds=milliseconds(seconds["split"]),
            other_milliseconds=milliseconds(seconds[name]),
        )


def _health(size: Size) -> Result:
    """The 95th percentile of health checks while another process sends tensors as fast as it can."""
    mib = size.pick(1, 16, 16)
    with service(Hosted(None, WIDTH), ["client"]) as door, grpc.insecure_channel(door.address) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        idle = [_timed(check) for _ in range(size.pick(3, 30, 200))]
        with _load(door, mib):
            seconds = [_timed(check) for _ in range(size.pick(10, 120, 1000))]
    return result(
        f"health check p95 under traffic of {mib} MiB tensors",
        quantiles(seconds, n=20)[-1] * 1e3,
        HEALTH_TARGET,
        "lower",
        "ms",
        median_milliseconds=milliseconds(seconds),
        idle_milliseconds=median(idle) * 1e3,
    )


def _timed(check: Callable[[health_pb2.HealthCheckRequest], health_pb2.HealthCheckResponse]) -> float:
    time.sleep(PAUSE)
    begun = time.perf_counter()
    if check(health_pb2.HealthCheckRequest()).status != health_pb2.HealthCheckResponse.SERVING:
        raise RuntimeError("the service says that it does not serve")
    return time.perf_counter() - begun


@contextmanager
def _load(door: Door, mib: int) -> Iterator[None]:
    with child(_send, door, mib):
        yield


def _send(connection: Connection, door: Door, mib: int) -> None:
    """One tensor behind the other, until told to end."""
    over = threading.Event()

    def listen() -> None:
        wait(connection)
        over.set()

    tensor = torch.zeros(1, mib * MIB // (4 * WIDTH), WIDTH)
    with door.links() as (link,):
        link.infer(tensor)
        connection.send("under way")
        threading.Thread(target=listen, daemon=True).start()
        while not over.is_set():
            link.infer(tensor)


if __name__ == "__main__":
    main("transport", __doc__, measure)
