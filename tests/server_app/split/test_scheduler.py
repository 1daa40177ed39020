from __future__ import annotations

from collections import Counter
from dataclasses import replace
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
    caller = SimpleNamespace(client=client, owner=client, gone=False)
    return Work(
        caller, pb.Request(op=op), shape, [], MEMORY.take(client, Kind.MESSAGE, 0), at, at + 10, rows * width, 0, graph
    )


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


def test_wide_rows_are_charged_what_they_cost_and_not_their_cells() -> None:
    queue, served = scheduler(clients=1), Counter()
    queue.add(replace(work("wide"), charge=10_000))
    queue.add(work("ann"))
    for _ in range(200):
        (one,) = queue.next(10.0, active=2)
        served[one.client] += one.cost
        queue.add(replace(work("wide"), charge=10_000) if one.client == "wide" else work("ann"))
    # fifty times nothing but the small requests' turn, for each of the large ones
    assert served["ann"] == 4 * 199 and served["wide"] == 10_000


def run(queue: Scheduler, now: float, seconds: float) -> tuple[str | None, float]:
    """Runs what is next, which takes so long for each cell; who it was, and the time then."""
    batch = queue.next(now, active=2)
    if not isinstance(batch, list):
        return None, batch if batch is not None else now + 0.1
    took = seconds * sum(one.cost for one in batch)
    queue.ran(batch, now, now + took)
    return batch[0].client, now + took


def test_long_requests_leave_the_time_to_others_even_while_nobody_waits() -> None:
    """Another client thinks between its requests, so that the queue often holds the long ones alone."""
    queue, now, due = Scheduler(1, 10_000, WAIT, long_share=0.2), 0.0, 0.0
    long_seconds, waits = 0.0, []
    queue.add(work("long", width=1000))
    for _ in range(5000):
        if due is not None and now >= due:
            queue.add(work("ann", width=4, at=due))
            asked, due = due, None
        client, after = run(queue, now, 0.001)
        if client == "long":
            long_seconds += after - now
            queue.add(work("long", width=1000, at=after))
        elif client == "ann":
            waits.append(after - asked)
            due = after + 0.01
        now = min(after, due) if client is None and due is not None else after
    assert 0.15 < long_seconds / now < 0.25
    # nineteen of twenty never meet a long pass
    assert sorted(waits)[int(0.95 * len(waits))] < 0.02


def test_small_requests_are_charged_the_time_that_they_take() -> None:
    """A pass takes as long as a hundred cells more than it has."""
    queue, seconds, width = Scheduler(1, 10_000, WAIT), Counter(), {"tiny": 1, "ann": 900}
    for client in width:
        queue.add(replace(work(client, width=width[client]), overhead=100))
    for _ in range(400):
        (one,) = queue.next(1.0, active=2)
        seconds[one.client] += 100 + one.cells
        queue.add(replace(work(one.client, width=width[one.client]), overhead=100))
    assert max(seconds.values()) <= 1.2 * min(seconds.values())


def test_long_requests_run_freely_once_the_others_are_silent() -> None:
    queue = Scheduler(1, 10_000, WAIT, long_share=0.2)
    queue.add(work("ann", width=4))
    _, now = run(queue, 0.0, 0.001)
    for turn in range(20):
        queue.add(work("long", width=1000, at=now))
        client, after = run(queue, now, 0.001)
        assert client == "long", turn
        now = after


def test_requests_of_like_size_are_never_long() -> None:
    queue, now, order = Scheduler(1, 10_000, WAIT, long_share=0.01), 0.0, []
    for client in ("ann", "bob") * 10:
        queue.add(work(client, width=4 if client == "ann" else 7))
    for _ in range(20):
        client, now = run(queue, now, 0.01)
        order.append(client)
    assert None not in order


def test_an_owner_has_one_share_under_all_its_names() -> None:
    queue, served = scheduler(clients=1), Counter()
    names = {"ann": "ann", "ann@0.5": "ann", "ann@1": "ann", "bob": "bob"}
    for client in names:
        queue.add(named(client, names[client]))
    for _ in range(300):
        (one,) = queue.next(10.0, active=4)
        served[one.owner] += one.cost
        queue.add(named(one.client, one.owner))
    assert max(served.values()) <= 1.1 * min(served.values())


def named(client: str, owner: str) -> Work:
    made = work(client)
    made.caller.owner = owner
    return made


def test_a_decode_comes_before_a_prefill_and_both_run_alone() -> None:
    kinds = (pb.OP_FORWARD, pb.OP_BACKWARD, pb.OP_PREFILL, pb.OP_PREFILL, pb.OP_DECODE, pb.OP_DECODE, pb.OP_STEP)
    queue = scheduler(*(work(f"client {index}", op) for index, op in enumerate(kinds)))
    batches = []
    # each waits no longer, so that all are due
    while isinstance(batch := queue.next(1.0, active=7), list):
        batches.append([one.request.op for one in batch])
    assert batches == [[op] for op in reversed(kinds)][:3] + [
        [pb.OP_PREFILL],
        [pb.OP_PREFILL],
        [pb.OP_BACKWARD],
        [pb.OP_FORWARD],
    ]
