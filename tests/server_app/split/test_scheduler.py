from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import pytest
import torch

from common.pb import split_pb2 as pb
from common.wire import Rows
from server_app.split.memory import HeldMemory, Kind
from server_app.split.scheduler import Scheduler
from server_app.split.work import Work

MEMORY = HeldMemory(1, {})
WAIT = 0.002


def work(
    client: str, op: int = pb.OP_FORWARD, rows: int = 1, width: int = 4, at: float = 0.0, graph: object = None
) -> Work:
    shape = Rows.of(torch.zeros(rows, width, 1), None, None)
    caller = SimpleNamespace(client=client, gone=False)
    return Work(caller, pb.Request(op=op), shape, [], MEMORY.take(client, Kind.MESSAGE, 0), at, at + 10, graph)


def graph_of(count: int, seconds: float = 0.0) -> SimpleNamespace:
    return SimpleNamespace(micros=[object()] * count, made=SimpleNamespace(seconds=seconds))


def scheduler(*queued: Work, clients: int = 8, cells: int = 1000) -> Scheduler:
    made = Scheduler(clients, cells, WAIT)
    for one in queued:
        made.add(one)
    return made


def test_nothing_to_do() -> None:
    assert scheduler().next(0.0, active=3) is None


def test_one_active_client_does_not_wait() -> None:
    one = work("ann")
    assert scheduler(one).next(0.0, active=1) == [one]


def test_waits_for_company_and_no_longer() -> None:
    one, other = work("ann"), work("bob", at=0.001)
    queue = scheduler(one)
    assert queue.next(0.0, active=2) == WAIT
    queue.add(other)
    assert queue.next(0.001, active=3) == WAIT
    assert queue.next(WAIT, active=3) == [one, other]
    assert queue.next(WAIT, active=3) is None


def test_complete_batch_does_not_wait() -> None:
    one, other = work("ann"), work("bob")
    assert scheduler(one, other).next(0.0, active=2) == [one, other]


def test_without_batching_nobody_shares_a_pass() -> None:
    one, other = work("ann"), work("bob")
    queue = scheduler(one, other, clients=1)
    assert queue.next(0.0, active=2) == [one]
    assert queue.next(0.0, active=2) == [other]


def test_order_of_operations() -> None:
    ops = [pb.OP_FORWARD, pb.OP_BACKWARD, pb.OP_INFER, pb.OP_STEP]
    queue = scheduler(*(work(client, op) for client, op in zip("abcd", ops, strict=True)))
    seen = [queue.next(WAIT, active=1)[0].request.op for _ in ops]
    assert seen == list(reversed(ops))


def test_a_client_keeps_its_own_order() -> None:
    first, second = work("ann", pb.OP_BACKWARD), work("ann", pb.OP_STEP)
    queue = scheduler(first, second)
    assert queue.next(0.0, active=1) == [first]
    assert queue.next(0.0, active=1) == [second]


def test_a_batch_has_one_request_a_client_and_one_kind() -> None:
    first, second, other, infer = work("ann"), work("ann"), work("bob"), work("cyd", pb.OP_INFER)
    queue = scheduler(first, second, other, infer)
    assert queue.next(WAIT, active=3) == [infer]
    assert queue.next(WAIT, active=3) == [first, other]


def test_a_batch_holds_so_many_cells_with_padding() -> None:
    long, short = work("ann", rows=1, width=50), work("bob", rows=2, width=10)
    assert scheduler(long, short, cells=150).next(WAIT, active=2) == [long, short]
    assert scheduler(long, short, cells=149).next(WAIT, active=2) == [long]


def test_a_request_larger_than_a_batch_still_runs() -> None:
    large = work("ann", rows=2, width=60)
    assert scheduler(large, cells=10).next(0.0, active=1) == [large]


def test_mates_of_a_held_pass_come_together() -> None:
    graph = graph_of(2, seconds=0.5)
    one, other = work("ann", pb.OP_BACKWARD, graph=graph), work("bob", pb.OP_BACKWARD, at=0.4, graph=graph)
    alone = work("cyd", pb.OP_BACKWARD, graph=graph_of(1))
    queue = scheduler(one, alone)
    assert queue.next(0.0, active=3) == [alone]
    assert queue.next(0.1, active=3) == 0.5
    queue.add(other)
    assert queue.next(0.4, active=3) == [one, other]


def test_mates_are_not_waited_for_longer_than_their_pass_took() -> None:
    one = work("ann", pb.OP_BACKWARD, graph=graph_of(2, seconds=0.5))
    recomputed = work("bob", pb.OP_BACKWARD, at=0.5)
    assert scheduler(one, recomputed).next(0.5, active=2) == [one, recomputed]


def test_what_waited_too_long_or_for_nobody_is_dropped() -> None:
    late, gone, good = work("ann"), work("bob", at=5), work("cyd", at=5)
    gone.caller.gone = True
    queue = scheduler(late, gone, good)
    assert queue.drop(10.0) == [late, gone]
    assert len(queue) == 1


@pytest.mark.parametrize("greed", ["many requests", "large requests"])
def test_a_greedy_client_gets_no_more_than_the_others(greed: str) -> None:
    names = [f"client {index}" for index in range(8)]
    queue, served, greedy = Scheduler(1, 10_000, WAIT), Counter(), names[0]

    def ask(name: str) -> None:
        large = greed == "large requests" and name == greedy
        queue.add(work(name, rows=8 if large else 1, width=16))

    for name in names:
        for _ in range(16 if greed == "many requests" and name == greedy else 2):
            ask(name)
    for _ in range(2000):
        (one,) = queue.next(1.0, active=8)
        served[one.client] += one.cells
        ask(one.client)
    assert max(served.values()) / min(served.values()) <= 1.2


def test_being_away_earns_nothing() -> None:
    queue = scheduler(*(work("ann") for _ in range(50)), clients=1)
    for _ in range(40):
        queue.next(1.0, active=1)
    for _ in range(10):
        queue.add(work("bob"))
    served = Counter(queue.next(1.0, active=2)[0].client for _ in range(10))
    assert abs(served["ann"] - served["bob"]) <= 2


@pytest.mark.parametrize("clients", [1, 8])
def test_large_requests_get_no_more_than_small_ones_where_each_client_waits_for_its_reply(clients: int) -> None:
    """One request of each client is under way; the next comes once that is answered."""
    queue, served = scheduler(clients=clients, cells=10_000), Counter()
    width = {"greedy": 16, **{f"small-{n}": 4 for n in range(7)}}
    for client in width:
        queue.add(work(client, width=width[client]))
    for _ in range(400):
        for one in queue.next(10.0, active=8):
            served[one.client] += one.cells
            queue.add(work(one.client, width=width[one.client]))
    assert max(served.values()) <= 1.2 * min(served.values())


def test_a_decode_comes_before_a_prefill_and_both_run_alone() -> None:
    kinds = (pb.OP_FORWARD, pb.OP_BACKWARD, pb.OP_PREFILL, pb.OP_PREFILL, pb.OP_DECODE, pb.OP_DECODE, pb.OP_STEP)
    queue = scheduler(*(work(f"client {index}", op) for index, op in enumerate(kinds)))
    batches = []
    # each waits no longer, so that all are due
    while isinstance(batch := queue.next(1.0, active=7), list):
        batches.append([one.request.op for one in batch])
    assert batches == [[op] for op in reversed(kinds)][:3] + [[pb.OP_PREFILL], [pb.OP_PREFILL], [pb.OP_BACKWARD],
                                                             [pb.OP_FORWARD]]  # fmt: skip
