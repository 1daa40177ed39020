"""One session: a stream of one client. It checks what comes in, hands it to the engine, and sends the answers.

A reader thread takes the messages; the stream's own thread, in :meth:`Session.replies`, sends. What is not what it
must be ends the session with its status; what only came at the wrong time is answered, and the session goes on.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Iterator

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
)  # fmt: skip
from server_app.split.answer import Answer
from server_app.split.clients import Clients
from server_app.split.engine import Engine
from server_app.split.inspection import TRAINING, check_hello, check_request
from server_app.split.memory import Held, HeldMemory, Kind
from server_app.split.metrics import Metrics
from server_app.split.rate import Rate
from server_app.split.settings import HostSettings
from server_app.split.tokens import Claims, Mint
from server_app.split.work import Work

log = logging.getLogger("fellrec.split")
TICK = 0.5
Reply = tuple[pb.Frame, torch.Tensor | None, Held | None]


class Session:
    """See the module."""

    def __init__(
        self, claims: Claims, settings: HostSettings, dtype: torch.dtype, engine: Engine, clients: Clients, mint: Mint,
        memory: HeldMemory, rate: Rate, metrics: Metrics,
    ) -> None:  # fmt: skip
        self.client = claims.client
        self._claims, self._settings, self._dtype = claims, settings, dtype
        self._engine, self._clients, self._mint = engine, clients, mint
        self._memory, self._rate, self._metrics = memory, rate, metrics
        self._codec = Codec.FP32
        self._training = False
        self._credits = threading.Semaphore(CREDITS)
        self._outbox: queue.SimpleQueue[Reply | Refused | None] = queue.SimpleQueue()
        self._ended = threading.Event()
        self._message_since: float | None = time.monotonic()

    @property
    def gone(self) -> bool:
        """Whether nobody listens any more."""
        return self._ended.is_set()

    def answer(self, work: Work, answer: Answer, version: int, step: int, durable: int) -> None:
        """Called by the compute thread."""
        reply = pb.Reply(
            number=work.request.number, status=answer.status, message=answer.message, version=version, step=step,
            durable=durable,
        )  # fmt: skip
        share = None
        if answer.tensor is not None and not self.gone:
            share = self._memory.offer(self.client, Kind.MESSAGE, answer.tensor.nbytes)
            if share is None:
                reply.status, reply.message = pb.STATUS_RESOURCE_EXHAUSTED, "no room for the reply"
        self._outbox.put((pb.Frame(reply=reply), answer.tensor if share is not None else None, share))
        if self.gone:
            self._empty_outbox()

    def close(self, why: Refused | None = None) -> None:
        """Ends the session, with a status if there is a reason; harmless once it has ended."""
        if why is None:
            self._ended.set()
        self._outbox.put(why)

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
            if share is not None:
                share.release()
            if frame.WhichOneof("part") == "reply":
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
                log.exception("client %s: the session failed", self.client)
                self.close(Refused("the session failed", "", "INTERNAL"))
        else:
            self.close()

    def _take(self, request: pb.Request, messages: Iterator[bytes]) -> None:
        """Receives a request's tensors and hands it to the engine, once there is a credit for it."""
        self._mint.recheck(self._claims)
        rows = check_request(request, self._settings, self._dtype, self._codec)
        if request.op in TRAINING and not self._training:
            raise Refused(
                f"{pb.Op.Name(request.op)} in a session that does not train", "say so in Hello", "PERMISSION_DENIED"
            )
        self._credits.acquire()
        limits = self._settings.limits
        seconds = min(request.deadline_ms / 1000 or limits.queue_seconds, limits.queue_seconds)
        # what is left of the deadline is for the queue and the layers
        wait = self._rate.take(self._claims.owner, rows.count * rows.width, seconds / 2) if rows is not None else 0.0
        if self._ended.wait(wait):
            return
        # decoding makes a second tensor beside a compressed one
        size = sum(
            tensor.nbytes + tensor.shape[0] * tensor.shape[1] * self._dtype.itemsize for tensor in request.tensors
        )
        share = self._memory.take(self.client, Kind.MESSAGE, size)
        try:
            tensors = self._tensors(request, messages)
        except BaseException:
            share.release()
            raise
        now = time.monotonic()
        self._engine.submit(Work(self, request, rows, tensors, share, now, now + seconds - wait))

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
        return parse(message)

    def _welcome(self) -> pb.Welcome:
        """Where the client stands; from now on this session speaks for it. Runs on the compute thread."""
        if self._training:
            opened = self._clients.round(self.client)
            opened.forget()
            opened.owner = self
        _, version, opened = self._clients.standing(self.client)
        welcome = pb.Welcome(version=version, dtype=DTYPE_NUMBERS[self._dtype], max_tokens=self._settings.limits.tokens)
        if opened is not None:
            welcome.round, welcome.step, welcome.number = opened.round, opened.step, opened.number
            welcome.durable = opened.durable
        return welcome

    def _check_clock(self) -> None:
        self._mint.recheck(self._claims)
        since = self._message_since
        if since is not None and time.monotonic() - since > self._settings.limits.payload_seconds:
            raise Refused("a message did not arrive in time", "", "DEADLINE_EXCEEDED")

    def _empty_outbox(self) -> None:
        while True:
            try:
                item = self._outbox.get_nowait()
            except queue.Empty:
                return
            if isinstance(item, tuple) and item[2] is not None:
                item[2].release()
