"""Round trips of tensors through the split service, hosted layers that compute nothing, against a plain unary protobuf
service and a raw socket; and how long a health check takes while such traffic goes on.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
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
FLOATS_REPETITIONS = 5
NAIVE = {"naive unary protobuf, bytes": "Bytes", "naive unary protobuf, repeated float": "Floats"}
NAIVE_TARGET, RAW_TARGET, HEALTH_TARGET = 2.5, 3.0, 50.0
PAUSE = 0.02
"""Seconds between two health checks."""


def measure(size: Size) -> list[Result]:
    """Round trips of each size, with glibc's own thresholds and with higher ones; then health."""
    results = []
    for environment, note in (({}, ""), (KEEP_MEMORY, ", malloc thresholds 1 GiB")):
        # the client's side in a process of its own too: thresholds are read when a process begins
        with child(_round_trips, size, note, environment=environment) as (connection, _):
            results += connection.recv()
    return [*results, _health(size)]


def _round_trips(connection: Connection, size: Size, note: str) -> None:
    connection.send("begun")
    results = []
    with ExitStack() as stack:
        _, (grpc_port, raw_port) = stack.enter_context(child(serve))
        door = stack.enter_context(service(Hosted(None, WIDTH), ["client"]))
        (link,) = stack.enter_context(door.links())
        channel = stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{grpc_port}", UNLIMITED))
        connected = stack.enter_context(socket.create_connection(("127.0.0.1", raw_port)))
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        calls = {"split": link.infer, "raw socket": raw(connected)}
        calls |= {name: unary(channel, form) for name, form in NAIVE.items()}
        for mib in size.pick((1,), (1, 4, 16), (1, 4, 16)):
            results += _compare(calls, mib, size.pick(2, 15, 100), note)
    connection.send(results)


def _compare(
    calls: Mapping[str, Callable[[Tensor], Tensor]], mib: int, repetitions: int, note: str
) -> Iterator[Result]:
    tensor = torch.randn(1, mib * MIB // (4 * WIDTH), WIDTH, generator=torch.Generator().manual_seed(0))
    for name, call in calls.items():
        if not torch.equal(call(tensor), tensor):
            raise RuntimeError(f"{name}: what came back is not what was sent")
    turns = {name: (lambda call=call: call(tensor)) for name, call in calls.items()}
    floats = turns.pop("naive unary protobuf, repeated float")
    seconds = interleaved(turns, repetitions, warm_up=2)
    # some ten times slower than the rest: a few repetitions show it
    slow = interleaved({"split": turns["split"], "floats": floats}, min(repetitions, FLOATS_REPETITIONS), warm_up=0)
    ours = milliseconds(seconds["split"])
    for name in NAIVE:
        over, under = (seconds[name], seconds["split"]) if name in seconds else (slow["floats"], slow["split"])
        ratio, quartiles = ratio_of(over, under)
        more = {"quartiles": quartiles, "milliseconds": ours, "other_milliseconds": milliseconds(over)}
        target = NAIVE_TARGET if mib == 16 else None
        yield result(f"{mib} MiB, {name} / split{note}", ratio, target, "higher", "x", **more)
    ratio, quartiles = ratio_of(seconds["split"], seconds["raw socket"])
    more = {"quartiles": quartiles, "milliseconds": ours, "other_milliseconds": milliseconds(seconds["raw socket"])}
    target = RAW_TARGET if mib == 16 else None
    yield result(f"{mib} MiB, split / raw socket{note}", ratio, target, "lower", "x", **more)


def _health(size: Size) -> Result:
    """The 95th percentile of health checks while another process sends tensors as fast as it can."""
    mib = size.pick(1, 16, 16)
    with service(Hosted(None, WIDTH), ["client"]) as door, grpc.insecure_channel(door.address) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        idle = [_timed(check) for _ in range(size.pick(3, 50, 200))]
        with _load(door, mib):
            seconds = [_timed(check) for _ in range(size.pick(10, 200, 1000))]
    return result(
        f"health check p95 under traffic of {mib} MiB tensors", quantiles(seconds, n=20)[-1] * 1e3, HEALTH_TARGET,
        "lower", "ms", median_milliseconds=milliseconds(seconds), idle_milliseconds=median(idle) * 1e3,
    )  # fmt: skip


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
