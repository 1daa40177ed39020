"""The compute thread: it alone touches the model, the adapters and the rounds, so none of them needs a lock."""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import TypeVar, cast

import torch

from common.errors import SplitError
from common.pb import split_pb2 as pb
from common.wire import Refused
from server_app.split.adapter import Gradients
from server_app.split.answer import Answer
from server_app.split.clients import Clients
from server_app.split.cost import Cost, Speed
from server_app.split.generation import Sequences, Standing
from server_app.split.inspection import GENERATING
from server_app.split.log_lines import LogLines
from server_app.split.lora import HostedTrunk, Unmixable
from server_app.split.memory import Held, HeldMemory, Kind
from server_app.split.metrics import Metrics
from server_app.split.micro import HeldGraph, Micro
from server_app.split.passes import Member, Pass
from server_app.split.round import Round
from server_app.split.scheduler import Scheduler
from server_app.split.settings import HostSettings
from server_app.split.work import Work

log = logging.getLogger("fellrec.split")
T = TypeVar("T")
Run = Callable[[Sequence[Work]], None]

GRAPH_RATIO = 110.0
"""Bytes of a graph per byte of its input, before any was measured; 75 to 109 were seen."""
LOOK_EVERY = 1.0
"""Seconds after which a caller looks whether the thread still runs."""
RATIOS = 64
"""Measured ratios whose largest tells what the next graph may need."""


class Engine:
    """Runs what sessions submit and what the server asks, one thing after the other.

    Parameters
    ----------
    active : clients with an open session, at the moment.
    lines : of the log that clients may cause.

    Attributes
    ----------
    cost : what requests to this model cost. speed : how fast they are computed here.
    """

    def __init__(
        self,
        trunk: HostedTrunk,
        clients: Clients,
        memory: HeldMemory,
        metrics: Metrics,
        settings: HostSettings,
        active: Callable[[], int],
        lines: LogLines,
    ) -> None:
        self.cost, self.speed = Cost.of(trunk.module), Speed()
        self._lines = lines
        self._trunk, self._clients, self._memory, self._metrics = trunk, clients, memory, metrics
        self._active = active
        self._settings = settings
        self._sequences = Sequences(trunk, memory, settings.limits.sequences)
        limits = settings.limits
        self._scheduler = Scheduler(
            settings.batch_clients, limits.batch_tokens, settings.batch_seconds, limits.long_share
        )
        self._inbox: queue.SimpleQueue[Work | Callable[[], object] | None] = queue.SimpleQueue()
        self._ratios: deque[float] = deque([GRAPH_RATIO], maxlen=RATIOS)
        self._thread = threading.Thread(target=self._loop, name="fellrec-split-engine", daemon=True)

    def __len__(self) -> int:
        return len(self._scheduler)

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread after what it is doing; requests that wait get no answer."""
        self._inbox.put(None)
        self._thread.join()

    def submit(self, work: Work) -> None:
        """Queues a request; its caller gets the answer."""
        self._inbox.put(work)

    def post(self, task: Callable[[], object]) -> None:
        """Runs ``task`` on the compute thread, soon."""
        self._inbox.put(task)

    def call(self, task: Callable[[], T]) -> T:
        """Runs ``task`` on the compute thread; returns or raises what it does.

        Raises
        ------
        SplitError : the service has stopped.
        """
        if not self._thread.is_alive():
            raise SplitError("the split service has stopped", "start another")
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(task())
            except BaseException as error:
                future.set_exception(error)

        self._inbox.put(run)
        while True:
            try:
                return future.result(LOOK_EVERY)
            except TimeoutError:
                # a task may also raise this itself, or end just now; and the thread may die with tasks in its queue
                if future.done():
                    return future.result()
                if not self._thread.is_alive():
                    raise SplitError("the split service has stopped", "start another") from None

    def leave(self, session: Hashable) -> None:
        """A session has ended: what is held for it goes. Runs on the compute thread."""
        self._clients.leave(session)
        self._sequences.leave(session)

    def _loop(self) -> None:
        wake: float | None = None
        while True:
            try:
                timeout = None if wake is None else max(0.0, wake - time.monotonic())
                item = self._inbox.get(timeout=timeout)
                while item is not None:
                    self._accept(item)
                    item = self._inbox.get_nowait()
                return
            except queue.Empty:
                pass
            wake = self._turn()

    def _accept(self, item: Work | Callable[[], object]) -> None:
        if not isinstance(item, Work):
            try:
                item()
            except Exception:
                log.exception("a task of the split service failed")
            return
        self._sequences.end(item.caller, item.request.ended)
        if item.request.op == pb.OP_BACKWARD:
            self._find_graph(item)
        self._scheduler.add(item)

    def _turn(self) -> float | None:
        """Runs the next batch, if it is time; returns when to look again."""
        now = time.monotonic()
        for work in self._scheduler.drop(now):
            why = "the request waited too long for its turn: its own deadline, or 'split.limits.queue-seconds'"
            self._refuse(work, Refused(why, "", "DEADLINE_EXCEEDED"))
        batch = self._scheduler.next(now, self._active() if self._trunk.mixable else 1)
        if not isinstance(batch, list):
            return batch
        self._metrics.batch.observe(len(batch))
        op = batch[0].request.op
        if op == pb.OP_INFER:
            self._isolated(batch, self._infer)
        elif op in GENERATING:
            self._isolated(batch, self._generate)
        else:
            run = {pb.OP_FORWARD: self._forward, pb.OP_BACKWARD: self._backward, pb.OP_STEP: self._step}[op]
            self._isolated(self._admitted(batch), run)
        ended = time.monotonic()
        self._scheduler.ran(batch, now, ended)
        return ended

    def _admitted(self, works: Sequence[Work]) -> list[Work]:
        """Those that their rounds let in; the others are answered."""
        admitted = []
        for work in works:
            try:
                known = self._clients.round(work.client).admit(work.request, work.caller)
            except Refused as refused:
                self._refuse(work, refused)
                continue
            if known is None:
                admitted.append(work)
            else:
                self._answer(work, known)
        return admitted

    def _isolated(self, works: Sequence[Work], run: Run) -> None:
        """Runs a batch; where it fails, its members one by one, so that only the culprit fails."""
        works = [work for work in works if not work.answered]
        if not works:
            return
        try:
            run(works)
        except Exception as error:
            if isinstance(error, Unmixable):
                self._trunk.mixable = False
            if len(works) > 1:
                for work in works:
                    self._isolated([work], run)
            elif isinstance(error, Refused):
                self._refuse(works[0], error)
            elif isinstance(error, torch.OutOfMemoryError):
                self._refuse(
                    works[0], Refused("the device has no memory left", "send less at once", "RESOURCE_EXHAUSTED")
                )
            else:
                if self._lines.allow(works[0].client) is not None:
                    log.exception("client %s: %s failed", works[0].client, pb.Op.Name(works[0].request.op))
                self._refuse(works[0], Refused("the hosted layers failed on this request", "", "INTERNAL"))

    def _infer(self, works: Sequence[Work]) -> None:
        for bare in (False, True):
            chosen = [work for work in works if work.request.bare == bare]
            members = [Member(self._standing(work).adapter, work.layout, work.tensors[0]) for work in chosen]
            outputs = self._pass(chosen, members, held=False).outputs if members else []
            for work, output in zip(chosen, outputs, strict=True):
                self._answer(work, Answer(output))

    def _generate(self, works: Sequence[Work]) -> None:
        for work in works:
            self._answer(work, self._sequences.run(work, self._standing(work)))

    def _standing(self, work: Work) -> Standing:
        if work.request.bare:
            return Standing()
        adapter, version, opened = self._clients.standing(work.client)
        return Standing(adapter, version, opened.step if opened is not None else 0)

    def _forward(self, works: Sequence[Work]) -> None:
        repeated = [work for work in works if self._round(work).is_repeated(work.request)]
        if repeated:
            self._infer(repeated)
            works = [work for work in works if work not in repeated]
            if not works:
                return
        members = [Member(self._round(work).adapter, work.layout, work.tensors[0]) for work in works]
        shares = self._graph_shares(works)
        try:
            made = self._pass(works, members, held=bool(shares))
        except Exception:
            for share in shares:
                share.release()
            raise
        micros = [self._keep_input(work) for work in works]
        if shares:
            charges = [work.charge for work in works]
            for share, charge in zip(shares, charges, strict=True):
                share.resize(made.nbytes * charge // sum(charges))
            self._ratios.append(made.nbytes / (sum(charges) * self._bytes_per_cell))
            HeldGraph(made, micros, shares)
        for work, output in zip(works, made.outputs, strict=True):
            self._answer(work, Answer(output), remember=True)

    def _pass(self, works: Sequence[Work], members: Sequence[Member], held: bool) -> Pass:
        made = Pass(self._trunk, members, held)
        self.speed.note(sum(work.charge for work in works), made.seconds)
        return made

    def _keep_input(self, work: Work) -> Micro:
        micro = Micro(work.request.number, work.layout)
        kept = self._memory.offer(work.owner, Kind.INPUT, work.tensors[0].nbytes)
        if kept is not None:
            micro.tokens, micro.shares = work.tensors[0], [kept]
        self._round(work).put(work.request.micros[0].id, micro)
        return micro

    def _backward(self, works: Sequence[Work]) -> None:
        ready: list[tuple[Work, Micro]] = []
        for work in works:
            micro = self._round(work).source(work.request, work.layout, brought=len(work.tensors) == 2)
            if micro is None:
                self._answer(work, Answer(status=pb.STATUS_INPUT_WANTED, message="the input is no longer held"))
            else:
                ready.append((work, micro))
        graph = ready[0][1].graph if ready else None
        if graph is not None and {id(micro) for _, micro in ready} == {id(micro) for micro in graph.micros}:
            ready.sort(key=lambda pair: graph.micros.index(pair[1]))
            made, rung = graph.made, "graph"
        else:
            ready = [(work, micro) for work, micro in ready if self._has_input(work, micro)]
            members = [Member(self._round(work).adapter, work.layout, _input(work, micro)) for work, micro in ready]
            if not members:
                return
            made, rung = Pass(self._trunk, members, held=True), "input"
        try:
            results = made.backward([work.tensors[0] for work, _ in ready])
        finally:
            if graph is not None:
                graph.drop()
        for (work, micro), (gradient, gradients) in zip(ready, results, strict=True):
            self._isolated([work], partial(self._keep, micro, gradient, gradients))
            self._metrics.backwards.labels(rung if len(work.tensors) == 1 else "sent again").inc()

    def _has_input(self, work: Work, micro: Micro) -> bool:
        """Gives up a graph that cannot be used; answers where that leaves nothing to run from."""
        if micro.graph is not None:
            micro.graph.drop()
        if len(work.tensors) == 2 or micro.tokens is not None:
            return True
        self._answer(work, Answer(status=pb.STATUS_INPUT_WANTED, message="the input is no longer held"))
        return False

    def _keep(self, micro: Micro, gradient: torch.Tensor, gradients: Gradients, works: Sequence[Work]) -> None:
        (work,) = works
        present = [one for one in gradients if one is not None]
        if not (_finite([gradient]) and _finite(present)):
            raise Refused("the gradients are not finite", "lower the learning rate")
        share = self._memory.take(work.owner, Kind.GRADIENT, sum(one.nbytes for one in present))
        self._round(work).put(work.request.micros[0].id, micro)
        micro.finish(gradients, work.request.number, share)
        self._answer(work, Answer(gradient if work.request.input_gradient else None), remember=True)

    def _step(self, works: Sequence[Work]) -> None:
        for work in works:
            opened = self._round(work)
            opened.apply(work.request)
            self._clients.save_step(work.client, opened)
            self._answer(work, Answer())

    def _find_graph(self, work: Work) -> None:
        """Notes which held pass a backward may use, so that those that share it can be brought together."""
        try:
            named = work.request.micros[0]
            micro = self._clients.round(work.client).micros.get(named.id)
        except Refused:
            return
        if micro is not None and micro.forward == named.forward and len(work.tensors) == 1:
            work.graph = micro.graph

    def _graph_shares(self, works: Sequence[Work]) -> list[Held]:
        """Room for the graph of a pass, by client; nothing where one of them has none."""
        shares: list[Held] = []
        ratio = max(self._ratios)
        for work in works:
            share = self._memory.offer(work.owner, Kind.GRAPH, int(work.charge * self._bytes_per_cell * ratio))
            if share is None:
                for taken in shares:
                    taken.release()
                return []
            shares.append(share)
        return shares

    @property
    def _bytes_per_cell(self) -> int:
        return self._settings.hidden_size * self._trunk.dtype.itemsize

    def _round(self, work: Work) -> Round:
        return self._clients.round(work.client)

    def _refuse(self, work: Work, refused: Refused) -> None:
        self._metrics.refused.labels(refused.status).inc()
        text = f"{refused.message} ({refused.hint})" if refused.hint else refused.message
        status = cast("pb.Status", pb.Status.Value(f"STATUS_{refused.status}"))
        self._answer(work, Answer(status=status, message=text))

    def _answer(self, work: Work, answer: Answer, remember: bool = False) -> None:
        opened = None
        version = 0
        try:
            _, version, opened = self._clients.standing(work.client)
        except Refused:
            pass
        if remember and opened is not None:
            nbytes = answer.tensor.nbytes if answer.tensor is not None else 0
            share = self._memory.offer(work.owner, Kind.REPLY, nbytes)
            if share is not None:
                opened.remember(work.request.number, answer, share)
        work.share.release()
        work.answered = True
        self._metrics.latency.labels(pb.Op.Name(work.request.op)).observe(time.monotonic() - work.arrived)
        step, durable = (opened.step, opened.durable) if opened is not None else (0, 0)
        work.caller.answer(work, answer, version, step, durable)


def _finite(tensors: Sequence[torch.Tensor]) -> bool:
    """Of tensors on one device; looked at together, which takes a fraction of the time."""
    if not tensors:
        return True
    low, high = torch.aminmax(torch.cat([one.flatten() for one in tensors]))
    return math.isfinite(low) and math.isfinite(high)


def _input(work: Work, micro: Micro) -> torch.Tensor:
    """A backward's input: the one that it brought, or the one that was kept."""
    return work.tensors[1] if len(work.tensors) == 2 else cast(torch.Tensor, micro.tokens)
