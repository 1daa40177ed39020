"""Eight clients of one split service whose rows share its passes, against the same service taking one after the other;
and how evenly a service serves eight clients of which one is greedy.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.harness import Result, Size, interleaved, main, milliseconds, progress, ratio_of, result
from benchmarks.hosting import RATE, Hosted, service
from benchmarks.models import save_model
from client_app.link import SplitLink

CLIENTS = 8
KIND = "llama"
FAIR_TARGET = 1.2
GREEDY_ROWS = 4
"""The greedy client's requests are so many times larger, and it always has two of them under way."""


@dataclass(frozen=True)
class Load:
    """What each client does, ``times`` in a row: rows of ``width`` tokens, trained or only inferred."""

    name: str
    rows: int
    width: int
    times: int
    trains: bool
    target: float


LOADS = (
    Load("inference of one row of one token (decode-like)", 1, 1, 20, False, 2.0),
    Load("training on one row of 8 tokens", 1, 8, 5, True, 1.3),
    Load("training on 4 rows of 32 tokens", 4, 32, 1, True, 0.95),
)


def measure(size: Size) -> list[Result]:
    """Each load; then fairness, for either way of serving."""
    width, layers = size.pick((32, 3), (512, 5), (512, 8))
    clients = [f"client-{number}" for number in range(CLIENTS)]
    found = []
    with tempfile.TemporaryDirectory() as root:
        folder = save_model(Path(root) / KIND, KIND, width, layers, heads=size.pick(2, 8, 8))
        with ExitStack() as stack:
            sides = {}
            for name, together in (("batched", CLIENTS), ("one by one", 1)):
                door = stack.enter_context(service(Hosted(folder, width, KIND, batch_clients=together), clients))
                sides[name] = stack.enter_context(door.links())
            pool = stack.enter_context(ThreadPoolExecutor(CLIENTS))
            for load in LOADS:
                found.append(_compare(sides, load, width, size.pick(1, 3, 30), pool))
        # services of their own: what was served before counts
        for together in (1, CLIENTS):
            with service(Hosted(folder, width, KIND, batch_clients=together), clients) as door, door.links() as links:
                found.append(_fairness(links, width, size.pick(0.5, 4.0, 20.0), together))
    return found


def _compare(
    sides: dict[str, list[SplitLink]], load: Load, width: int, repetitions: int, pool: ThreadPoolExecutor
) -> Result:
    hidden = _hidden(load.rows, load.width, width)
    work = _train if load.trains else _infer

    def all_at_once(links: Sequence[SplitLink]) -> Callable[[], None]:
        return lambda: [None for _ in pool.map(lambda link: work(link, hidden, load.times), links)]

    seconds = interleaved({name: all_at_once(links) for name, links in sides.items()}, repetitions)
    ratio, quartiles = ratio_of(seconds["one by one"], seconds["batched"])
    return result(
        f"{CLIENTS} clients, {load.name}: one by one / batched",
        ratio,
        load.target,
        "higher",
        "x",
        quartiles=quartiles,
        batched_milliseconds=milliseconds(seconds["batched"]) / load.times,
        one_by_one_milliseconds=milliseconds(seconds["one by one"]) / load.times,
    )


def _infer(link: SplitLink, hidden: Tensor, times: int) -> None:
    for _ in range(times):
        link.infer(hidden)


def _train(link: SplitLink, hidden: Tensor, times: int) -> None:
    for _ in range(times):
        output, sent = link.forward(hidden)
        link.backward(sent, output)
        link.step(RATE)
    link.flush()


def _fairness(links: Sequence[SplitLink], width: int, seconds: float, together: int) -> Result:
    """Tokens served to each client within a window, while all of them always have requests waiting."""
    modest, greedy = _hidden(1, 16, width), _hidden(GREEDY_ROWS, 16, width)
    served = [0] * len(links)
    lock, counting, over = threading.Lock(), threading.Event(), threading.Event()

    def ask(number: int, hidden: Tensor) -> None:
        while not over.is_set():
            links[number].infer(hidden)
            if counting.is_set():
                with lock:
                    served[number] += hidden.shape[0] * hidden.shape[1]

    # two requests under way, the most that a session has, keep a client waiting all the time
    jobs = [(number, greedy if number == 0 else modest) for number in range(len(links)) for _ in range(2)]
    with ThreadPoolExecutor(len(jobs)) as pool:
        asked = [pool.submit(ask, *job) for job in jobs]
        time.sleep(seconds / 4)
        counting.set()
        time.sleep(seconds)
        counting.clear()
        over.set()
        for one in asked:
            one.result()
    progress(f"  tokens served: {served}")
    return result(
        f"one greedy client among {CLIENTS}, {together} in a pass: tokens served, most / least",
        max(served) / max(min(served), 1),
        FAIR_TARGET,
        "lower",
        "x",
        tokens=served,
    )


def _hidden(rows: int, tokens: int, width: int) -> Tensor:
    return torch.randn(rows, tokens, width, generator=torch.Generator().manual_seed(0))


if __name__ == "__main__":
    main("batching", __doc__, measure)
