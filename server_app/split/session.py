"""One session: a stream of one client. It checks what comes in, hands it to the engine, and sends the answers.

A reader thread takes the messages; the stream's own thread, in :meth:`Session.replies`, sends. What is not what it
must be ends the session with its status; what only came at the wrong time is answered, and the session goes on.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator

import torch

from common.errors import SplitError
from common.pb import split_pb2 as pb
from common.wire import (
    CREDITS,
    DTYPE_NUMBERS,
    Codec,
    Inbox,
    Refused,
    announce,
    encode,
    frames,
    parse,
)
from server_app.split.answer import Answer
from server_app.split.clients import Clients
from server_app.split.cost import FACTORS
from server_app.split.engine import Engine
from server_app.split.inspection import GENERATING, TRAINING, check_hello, check_request
from server_app.split.log_lines import LogLines
from server_app.split.memory import Held, HeldMemory, Kind
from server_app.split.metrics import Metrics
from server_app.split.rate import Rate
from server_app.split.settings import HostSettings
from server_app.split.tokens import Claims, Mint
from server_app.split.work import Work

log = logging.getLogger("fellrec.split")
TICK = 0.5
GRACE = 2.0
"""Seconds in which a session that is to end may still send what it has begun."""

IDLE = 10.0
"""Seconds without a message or work under way, after which a session gives way to a newer one of its client."""

Reply = tuple[pb.Frame, torch.Tensor | None, Held | None]


class Session:
    """See the module.

    Parameters
    ----------
    cut : ends the stream at once, also while something is being sent on it.
    lines : of the log that its client may cause.
    """

    def __init__(
        self,
        claims: Claims,
        settings: HostSettings,
        dtype: torch.dtype,
        engine: Engine,
        clients: Clients,
        mint: Mint,
        memory: HeldMemory,
        rate: Rate,
        metrics: Metrics,
        cut: Callable[[], object],
        lines: LogLines,
    ) -> None:
        self.client, self.owner = claims.client, claims.owner
        self._cut, self._lines = cut, lines
        self._claims, self._settings, self._dtype = claims, settings, dtype
        self._engine, self._clients, self._mint = engine, clients, mint
        self._memory, self._rate, self._metrics = memory, rate, metrics
        self._codec = Codec.FP32
        self._training = False
        self._credits = threading.Semaphore(CREDITS)
        self._outbox: queue.SimpleQueue[Reply | Refused | None] = queue.SimpleQueue()
        self._ended = threading.Event()
        now = time.monotonic()
        self._message_since: float | None = now
        self._sending_since: float | None = None
        self._closed_since: float | None = None
        self._heard = now
        # each is counted by one thread only
        self._taken = self._sent = 0

    @property
    def gone(self) -> bool:
        """Whether nobody listens any more."""
        return self._ended.is_set()

    def answer(self, work: Work, answer: Answer, version: int, step: int, durable: int) -> None:
        """Called by the compute thread."""
        reply = pb.Reply(
            number=work.request.number,
            status=answer.status,
            message=answer.message,
            version=version,
            step=step,
            durable=durable,
        )
        share = None
        if answer.tensor is not None and not self.gone:
            try:
                share = self._memory.take(self.owner, Kind.REPLY, answer.tensor.nbytes)
            except Refused as refused:
                reply.status, reply.message = pb.STATUS_RESOURCE_EXHAUSTED, refused.message
        self._outbox.put((pb.Frame(reply=reply), answer.tensor if share is not None else None, share))
        if self.gone:
            self._empty_outbox()

    def close(self, why: Refused | None = None) -> None:
        """Ends the session, with a status if there is a reason; harmless once it has ended."""
        if self._closed_since is None:
            self._closed_since = time.monotonic()
        if why is None:
            self._ended.set()
        self._outbox.put(why)

    @property
    def closing(self) -> bool:
        """Whether it ends, or has ended."""
        return self._closed_since is not None

    def give_way(self, now: float) -> bool:
        """Ends the session if nothing came and nothing was under way for a while; returns whether it ends."""
        if not self.closing and self._taken == self._sent and now - self._heard > IDLE:
            self.close(Refused("a newer session of this client has come", "connect again", "UNAVAILABLE"))
        return self.closing

    def watch(self, now: float) -> None:
        """Cuts the stream where its caller does not take what is sent; called by a thread of the service every so often.

        The stream's own thread waits for the caller, so it cannot look at a clock.
        """
        since = self._sending_since
        if since is not None and now - since > self._settings.limits.reply_seconds:
            if self._lines.allow(self.client) is not None:
                log.info("client %s: a reply was not taken in time ('split.limits.reply-seconds')", self.client)
            self.close()
            self._cut()
        elif self._closed_since is not None and now - self._closed_since > GRACE:
            self._cut()

    def replies(self, messages: Iterator[bytes]) -> Iterator[bytes]:
        """Runs the session: from the caller's messages to the service's.

        Raises
        ------
        Refused : the session ends with a status.
        """
        reader = threading.Thread(target=self._read, args=(messages,), name="fellrec-split-session", daemon=True)
        reader.start()
        try:
            while not self._ended.is_set():
                try:
                    item = self._outbox.get(timeout=TICK)
                except queue.Empty:
                    self._check_clock()
                    continue
                if item is None:
                    return
                if isinstance(item, Refused):
                    raise item
                yield from self._send(*item)
        finally:
            self._ended.set()
            self._credits.release()
            self._empty_outbox()
            self._engine.post(lambda: self._engine.leave(self))

    def _send(self, frame: pb.Frame, tensor: torch.Tensor | None, share: Held | None) -> Iterator[bytes]:
        self._sending_since = time.monotonic()
        try:
            payloads = []
            if tensor is not None:
                try:
                    payloads = [encode(tensor, self._codec)]
                    frame.reply.tensors.append(announce(tensor, self._codec))
                except SplitError as error:
                    frame.reply.status, frame.reply.message = pb.STATUS_INTERNAL, error.message
            for message in frames(frame, payloads):
                self._metrics.sent.inc(len(message))
                yield message
        finally:
            self._sending_since = None
            if share is not None:
                share.release()
            if frame.WhichOneof("part") == "reply":
                self._sent += 1
                self._credits.release()

    def _read(self, messages: Iterator[bytes]) -> None:
        try:
            hello = self._frame(messages)
            if hello is None or hello.WhichOneof("part") != "hello":
                raise Refused("a session begins with a Hello")
            self._message_since = None
            self._codec = check_hello(hello.hello, self._settings)
            self._training = hello.hello.training
            if self._training and not self._claims.training:
                raise Refused("the token does not allow training", "ask for one that does", "PERMISSION_DENIED")
            welcome = self._engine.call(self._welcome)
            self._outbox.put((pb.Frame(welcome=welcome), None, None))
            while (frame := self._frame(messages)) is not None:
                if frame.WhichOneof("part") != "request":
                    raise Refused(f"a {frame.WhichOneof('part')!r} came where a request was expected")
                self._take(frame.request, messages)
        except Refused as refused:
            self._metrics.refused.labels(refused.status).inc()
            self.close(refused)
        except Exception:
            if not self.gone:
                if self._lines.allow(self.client) is not None:
                    log.exception("client %s: the session failed", self.client)
                self.close(Refused("the session failed", "", "INTERNAL"))
        else:
            self.close()

    def _take(self, request: pb.Request, messages: Iterator[bytes]) -> None:
        """Receives a request's tensors and hands it to the engine, once there is a credit for it."""
        self._mint.recheck(self._claims)
        cost = self._engine.cost
        rows = check_request(request, self._settings, self._dtype, self._codec, cost)
        if request.op in TRAINING and not self._training:
            raise Refused(
                f"{pb.Op.Name(request.op)} in a session that does not train", "say so in Hello", "PERMISSION_DENIED"
            )
        limits = self._settings.limits
        past = request.sequence.past if request.op in GENERATING else 0
        charge = 0 if rows is None else cost.charge(rows, past)
        self._check_seconds(FACTORS[request.op] * charge)
        self._credits.acquire()
        seconds = min(request.deadline_ms / 1000 or limits.queue_seconds, limits.queue_seconds)
        # what is left of the deadline is for the queue and the layers
        wait = self._rate.take(self.owner, charge, seconds / 2) if charge else 0.0
        if self._ended.wait(wait):
            return
        # decoding makes a second tensor beside a compressed one, and the layers want the padding too
        cells = rows.count * rows.width * self._settings.hidden_size if rows is not None else 0
        size = sum(tensor.nbytes + cells * self._dtype.itemsize for tensor in request.tensors)
        share = self._memory.take(self.owner, Kind.MESSAGE, size)
        try:
            tensors = self._tensors(request, messages)
        except BaseException:
            share.release()
            raise
        now = time.monotonic()
        self._taken += 1
        overhead = max(cost.overhead, self._engine.speed.overhead)
        self._engine.submit(Work(self, request, rows, tensors, share, now, now + seconds - wait, charge, overhead))

    def _check_seconds(self, cost: int) -> None:
        limit, needed = self._settings.limits.pass_seconds, self._engine.speed.seconds(cost)
        if needed > limit:
            raise Refused(
                f"this request would take {needed:.0f} s or more of the service, 'split.limits.pass-seconds' = {limit!r}",
                "take smaller micro-batches, or raise it",
            )

    def _tensors(self, request: pb.Request, messages: Iterator[bytes]) -> list[torch.Tensor]:
        inbox = Inbox(request)
        self._message_since = time.monotonic()
        while not inbox.full:
            chunk = self._message(messages)
            if not isinstance(chunk, memoryview):
                raise Refused(f"a message ended after {inbox.filled!r} of {inbox.nbytes!r} bytes")
            inbox.add(chunk)
        self._message_since = None
        return inbox.tensors(self._dtype)

    def _frame(self, messages: Iterator[bytes]) -> pb.Frame | None:
        message = self._message(messages)
        if isinstance(message, memoryview):
            raise Refused(f"{len(message)!r} bytes came that no header announced")
        return message

    def _message(self, messages: Iterator[bytes]) -> pb.Frame | memoryview | None:
        try:
            message = next(messages, None)
        except Exception:
            # gRPC's way of saying that the stream was cut
            self._ended.set()
            return None
        if message is None:
            return None
        self._metrics.received.inc(len(message))
        self._heard = time.monotonic()
        return parse(message, self._settings.limits.header_bytes)

    def _welcome(self) -> pb.Welcome:
        """Where the client stands; from now on this session speaks for it. Runs on the compute thread."""
        if self._training:
            own = self._clients.round(self.client)
            own.forget()
            own.owner = self
        _, version, opened = self._clients.standing(self.client)
        welcome = pb.Welcome(version=version, dtype=DTYPE_NUMBERS[self._dtype], max_tokens=self._settings.limits.tokens)
        if opened is not None:
            welcome.round, welcome.step, welcome.number = opened.round, opened.step, opened.number
            welcome.durable = opened.durable
        return welcome

    def _check_clock(self) -> None:
        self._mint.recheck(self._claims)
        since = self._message_since
        limit = self._settings.limits.payload_seconds
        if since is not None and time.monotonic() - since > limit:
            raise Refused(
                f"a message did not arrive within 'split.limits.payload-seconds' = {limit!r}",
                "send smaller micro-batches, or raise it",
                "DEADLINE_EXCEEDED",
            )

    def _empty_outbox(self) -> None:
        while True:
            try:
                item = self._outbox.get_nowait()
            except queue.Empty:
                return
            if isinstance(item, tuple) and item[2] is not None:
                item[2].release()
