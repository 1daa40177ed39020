"""What one client can do to another: its steps' p95 beside a hostile client, against beside an honest neighbour.

The hostile client sends, one after the other, the worst that the limits of a run allow: see `benchmarks/attacks.py`.
The limits are those that a run of the same batches makes by itself. Neighbour and hostile client run at a lower
priority than service and client, for they stand for other machines.
"""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import quantiles

import torch

from benchmarks.attacks import ATTACKS, Aim
from benchmarks.child import child, wait
from benchmarks.harness import Result, Size, main, result
from benchmarks.hosting import RATE, SEED, TOKEN_SECONDS, Hosted, host_of
from benchmarks.models import save_model
from client_app.link import SplitLink
from common.config import from_flat
from common.cut import read_config
from server_app.split_limits import limits_of

CLIENT, OTHER = "client", "other"
ROWS, TOKENS, MORE_ROWS = 16, 64, 64
"""Of a training step; rows of an evaluation batch."""

EVALUATE_EVERY = 20
SLOWER, LARGER, LOG_BYTES = 3.0, 1.2, 1e6
NICE = 10


@dataclass(frozen=True)
class Seen:
    """What became of the client and of the service.

    Attributes
    ----------
    steps : when each of the client's steps began, and the seconds that it took. peak : bytes of memory. log : bytes.
    """

    steps: list[tuple[float, float]]
    peak: int
    log: int

    def p95(self, begin: float = 0.0, end: float = float("inf")) -> float:
        """Of the steps that began in this time, in seconds; where none did, one had taken all of it."""
        taken = [seconds for begun, seconds in self.steps if begin <= begun < end] or [end - begin]
        return quantiles(taken, n=20, method="inclusive")[-1] if len(taken) > 1 else taken[0]


def measure(size: Size) -> list[Result]:
    """Both cases, a service of its own for each."""
    width, layers = size.pick((32, 3), (256, 6), (256, 6))
    seconds = size.pick(0.7, 60.0, 180.0)
    with tempfile.TemporaryDirectory() as root:
        folder = save_model(Path(root) / "model", "bert", width, layers, heads=size.pick(2, 4, 4))
        run = from_flat({"train.batch-size": ROWS, "evaluate.batch-size": MORE_ROWS, "model.max-tokens": TOKENS})
        hosted = Hosted(folder, width, limits=limits_of(run, read_config(folder)))
        with _beside(hosted, _work) as (client, _):
            time.sleep(size.pick(2.0, 20.0, 60.0))
            honest = client()
        began: list[tuple[str, float]] = []
        with _beside(hosted, _attack) as (client, hostile):
            for name in ATTACKS:
                began.append((name, time.monotonic()))
                hostile.send(name)
                time.sleep(seconds / len(ATTACKS))
                hostile.send("")
            began.append(("", time.monotonic()))
            attacked = client()
    return _results(honest, attacked, began)


def _results(honest: Seen, attacked: Seen, began: Sequence[tuple[str, float]]) -> list[Result]:
    usual, seconds = honest.p95(), began[-1][1] - began[0][1]
    found = [
        result(
            f"p95 of a step beside a hostile client for {seconds:.0f} s / beside an honest neighbour",
            attacked.p95(began[0][1], began[-1][1]) / usual,
            SLOWER,
            "lower",
            "x",
            milliseconds=1e3 * attacked.p95(began[0][1], began[-1][1]),
            neighbour_milliseconds=1e3 * usual,
            steps=len(attacked.steps),
            neighbour_steps=len(honest.steps),
        )
    ]
    for (name, begin), (_, end) in zip(began, began[1:], strict=False):
        ratio = attacked.p95(begin, end) / usual
        found.append(result(f"the same during the attack {name!r}", ratio, SLOWER, "lower", "x"))
    found.append(
        result(
            "the service's memory at its highest, hostile / honest",
            attacked.peak / honest.peak,
            LARGER,
            "lower",
            "x",
            megabytes=attacked.peak / 1e6,
            neighbour_megabytes=honest.peak / 1e6,
        )
    )
    found.append(result("bytes that the service logged meanwhile", attacked.log, LOG_BYTES, "lower", "bytes"))
    return found


@contextmanager
def _beside(hosted: Hosted, other: object) -> Iterator[tuple[object, Connection]]:
    """A service, the client, and another one that does ``other``: what makes an end of it and tells, and the other."""
    with ExitStack() as stack:
        service, (address, tokens) = stack.enter_context(child(_serve, hosted))
        rival, _ = stack.enter_context(child(other, address, tokens[OTHER], hosted, NICE))
        client, _ = stack.enter_context(child(_work, address, tokens[CLIENT], hosted, 0))

        def end() -> Seen:
            client.send("end")
            steps = client.recv()
            service.send("look")
            peak, log = service.recv()
            return Seen(steps, peak, log)

        yield end, rival


def _serve(connection: Connection, hosted: Hosted) -> None:
    with tempfile.TemporaryDirectory() as state:
        log = Path(state) / "log"
        logging.basicConfig(filename=log, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        host = host_of(hosted, Path(state) / "state")
        address = host.start()
        for name in (CLIENT, OTHER):
            host.begin(name, 1, RATE, SEED)
        tokens = {name: host.mint(name, TOKEN_SECONDS) for name in (CLIENT, OTHER)}
        connection.send((address, tokens))
        wait(connection)
        connection.send((_peak(), log.stat().st_size))
        wait(connection)
        host.stop(0)


def _work(connection: Connection, address: str, token: str, hosted: Hosted, nice: int) -> None:
    """An honest client: steps, and an evaluation batch now and then; sends when each step began and how long it took."""
    os.nice(nice)
    steps: list[tuple[float, float]] = []
    generator = torch.Generator().manual_seed(SEED)
    hidden = torch.randn(ROWS, TOKENS, hosted.width, generator=generator)
    more = torch.randn(MORE_ROWS, TOKENS, hosted.width, generator=generator)
    with SplitLink(address, token, hosted.link_settings) as link:
        link.connect()
        connection.send("ready")
        while not connection.poll(0):
            begun = time.monotonic()
            output, sent = link.forward(hidden)
            link.backward(sent, output / output.numel())
            link.step(RATE)
            link.flush()
            steps.append((begun, time.monotonic() - begun))
            if len(steps) % EVALUATE_EVERY == 0:
                link.infer(more)
    if nice == 0:
        connection.send(steps)


def _attack(connection: Connection, address: str, token: str, hosted: Hosted, nice: int) -> None:
    """The hostile client: told an attack by name, it keeps at it until it is told another."""
    os.nice(nice)
    limits, config = hosted.limits, read_config(hosted.folder)
    aim = Aim(
        address,
        token,
        str(hosted.folder),
        hosted.width,
        limits.tokens,
        limits.training_tokens or limits.tokens,
        min(limits.width, config.max_position_embeddings),
    )
    connection.send("ready")
    over, thread = threading.Event(), None
    while True:
        try:
            name = connection.recv()
        except EOFError:
            break
        over.set()
        if thread is not None:
            thread.join()
        if name in ATTACKS:
            over = threading.Event()
            thread = threading.Thread(target=ATTACKS[name], args=(aim, over), daemon=True)
            thread.start()


def _peak() -> int:
    """Bytes of memory that this process held at most."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    main("hostile", __doc__, measure)
