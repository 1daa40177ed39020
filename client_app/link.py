"""The client's link to the split service: survives cut connections and restarts, applies nothing twice."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from types import TracebackType

import grpc
from torch import Tensor

from client_app.journal import Journal, Sent, Step
from client_app.link_settings import LinkSettings
from client_app.stream import Answer, Broken, Stream
from common.errors import ConfigError, SplitError
from common.line import line
from common.pb import split_pb2 as pb
from common.wire import CHANNEL_OPTIONS, CREDITS, PROTOCOL, Rows, announce, encode

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
PASSING = (
    pb.STATUS_FAILED_PRECONDITION,
    pb.STATUS_RESOURCE_EXHAUSTED,
    pb.STATUS_DEADLINE_EXCEEDED,
    pb.STATUS_UNAVAILABLE,
)


class SplitLink:
    """Hidden states and gradients to the hosted layers and back; two requests may be under way, from two threads.

    An optimiser step is asked for and not waited for: the service keeps a client's order, and the reply to whatever
    comes next says that the step was made. Where it was not, that request fails, or :meth:`flush` does.

    Parameters
    ----------
    address : str
        ``host:port``.
    token : str
        Token that the server minted for this client and round.
    settings : LinkSettings
        What the client means to talk to.
    root_certificate : bytes or None
        PEM of the authority that signed the service's certificate; None only on loopback.
    pair : tuple of bytes or None
        PEM of the client's own certificate chain and private key, where the service asks for them.

    Attributes
    ----------
    bytes_up, bytes_down : int
        Bytes of all messages so far.
    seconds : float
        Seconds spent waiting for replies so far.

    Raises
    ------
    ConfigError : plain text to another machine.
    """

    def __init__(
        self,
        address: str,
        token: str,
        settings: LinkSettings,
        root_certificate: bytes | None = None,
        pair: tuple[bytes, bytes] | None = None,
    ) -> None:
        if root_certificate is None and address.rpartition(":")[0] not in LOOPBACK:
            raise ConfigError(f"split service at {address!r} without TLS", "give its root certificate")
        self.settings = settings
        self.bytes_up = 0
        self.bytes_down = 0
        self.seconds = 0.0
        self._address, self._token, self._root, self._pair = address, token, root_certificate, pair
        self._journal = Journal()
        self._number = 0
        self._micro = 0
        self._round: tuple[int, int] | None = None
        self._channel: grpc.Channel | None = None
        self._stream: Stream | None = None
        self._asked: tuple[Stream | None, Future[Answer] | None] | None = None
        self._opening = threading.RLock()
        self._lock = threading.Lock()
        self._credits = threading.Semaphore(CREDITS)

    def __enter__(self) -> SplitLink:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None:
            # a step that fails as well would hide what went wrong
            self._asked = None
        self.close()

    @property
    def step_number(self) -> int:
        """Optimiser steps asked for in this round."""
        return self._journal.step

    def connect(self) -> None:
        """Connects now, rather than at the first request.

        Raises
        ------
        SplitError : the service cannot be reached, or refuses the model, the cut, the codec or the token.
        """
        self._try(_nothing)

    def infer(
        self, hidden: Tensor, mask: Tensor | None = None, positions: Tensor | None = None, bare: bool = False
    ) -> Tensor:
        """Hidden states [B,T,H] after the hosted layers; the service keeps nothing. Zero where padded.

        Parameters
        ----------
        hidden : Tensor
            Hidden states [B,T,H].
        mask : Tensor or None
            [B,T], 0 where padded.
        positions : Tensor or None
            [B,T] or [1,T].
        bare : bool
            Whether they go through the base model alone, without this client's adapter.

        Raises
        ------
        SplitError : refused, or out of reach.
        """
        rows, number = Rows.of(hidden, mask, positions), self._next_number()

        def ask(stream: Stream) -> Answer:
            request = pb.Request(number=number, op=pb.OP_INFER, rows=rows.message(), bare=bare)
            return self.ask_tokens(stream, request, rows, hidden)

        return _unpacked(rows, self.ask(ask)[1], hidden)

    def ask(self, send: Callable[[Stream], Answer]) -> Answer:
        """Asks until there is an answer, behind the last optimiser step.

        Parameters
        ----------
        send : callable
            Sends what is right for a connection and waits for the reply; called again with the next one where it fails.

        Raises
        ------
        SplitError : refused, or out of reach.
        """
        self.flush()
        return self._try(send)

    def ask_tokens(self, stream: Stream, request: pb.Request, rows: Rows, hidden: Tensor, past: int = 0) -> Answer:
        """Sends hidden states [B,T,H] with a request, under a new number where it has none; waits for as many.

        Parameters
        ----------
        stream : Stream
            The connection.
        request : pb.Request
            What is asked.
        rows : Rows
            Form of the hidden states.
        hidden : Tensor
            Hidden states [B,T,H].
        past : int
            Columns of these rows that the service holds already.

        Raises
        ------
        SplitError : rows times columns are more than the service takes. Broken : as :meth:`Stream.ask`.
        """
        _check_size(rows, stream, past)
        tokens = self._guarded(rows.pack(hidden.detach()), stream)
        request.number = request.number or self._next_number()
        request.tensors.append(announce(tokens, self.settings.codec))
        request.deadline_ms = self._deadline
        return stream.ask(request, [encode(tokens, self.settings.codec)], rows.tokens)

    def _guarded(self, rows: Tensor, stream: Stream) -> Tensor:
        """Rows [tokens, H] as they may leave, in the service's dtype: made once, so that a repetition sends the same."""
        return self.settings.guard(rows).to(stream.dtype)

    def forward(
        self, hidden: Tensor, mask: Tensor | None = None, positions: Tensor | None = None
    ) -> tuple[Tensor, Sent]:
        """As :meth:`infer`, to be followed by :meth:`backward` with the second value.

        Raises
        ------
        SplitError : refused, or out of reach.
        """
        rows, number = Rows.of(hidden, mask, positions), self._next_number()
        with self._lock:
            self._micro += 1
            identity = self._micro
        made: list[Sent] = []

        def ask(stream: Stream) -> Answer:
            if not made:
                _check_size(rows, stream)
                tokens = self._guarded(rows.pack(hidden.detach()), stream)
                # a copy: the caller may change its tensor, a repetition must not
                payload = encode(tokens, self.settings.codec).clone()
                made.append(Sent(identity, number, rows, announce(tokens, self.settings.codec), payload))
            (sent,) = made
            request = pb.Request(
                number=number,
                op=pb.OP_FORWARD,
                step=self._journal.step,
                micros=[sent.name],
                rows=rows.message(),
                tensors=[sent.tensor],
                deadline_ms=self._deadline,
            )
            return stream.ask(request, [sent.input], rows.tokens)

        _, output = self._try(ask)
        # the service lets a forward in only at its own step, so the step before it was made
        self._asked = None
        return _unpacked(rows, output, hidden), made[0]

    def backward(self, sent: Sent, gradient: Tensor, wants_input: bool = True) -> Tensor | None:
        """The gradients [B,T,H] of a forward's input, from those of its result.

        Parameters
        ----------
        sent : Sent
            The forward's second value.
        gradient : Tensor
            Gradients [B,T,H] of its result.
        wants_input : bool
            Whether anything below needs them; else they are not sent, and the result is None.

        Raises
        ------
        SplitError : the micro-batch has been differentiated already; or refused, or out of reach.
        """
        if sent.backward:
            raise SplitError(f"micro-batch {sent.id!r} is differentiated twice", "run its forward again")
        sent.backward = self._next_number()

        def ask(stream: Stream) -> Answer:
            if sent.gradient is None:
                sent.gradient = encode(self._guarded(sent.rows.pack(gradient), stream), self.settings.codec).clone()
            return self._send_backward(stream, sent, self._journal.step, wants_input)

        _, found = self._try(ask)
        with self._lock:
            self._journal.done.append(sent)
        return _unpacked(sent.rows, found, gradient) if wants_input else None

    def step(self, learning_rate: float | None = None) -> int:
        """Asks for one optimiser step of the hosted adapter, with the micro-batches differentiated since the last one.

        Parameters
        ----------
        learning_rate : float or None
            Learning rate of the step; None takes the one that the server began the round with.

        Returns
        -------
        Steps asked for in this round.

        Raises
        ------
        SplitError : there is no such micro-batch.
        """
        if not self._journal.done:
            raise SplitError("a hosted step without a micro-batch", "call backward() on a loss first")
        asked = self._journal.ask(self._next_number(), learning_rate)
        with self._opening:
            # without a connection it waits for the next one, which makes what the service lacks
            stream = self._stream
            self._asked = stream, stream.send(self._step_request(asked)) if stream is not None else None
        return self._journal.step

    def flush(self) -> None:
        """Returns once the last step is made.

        Raises
        ------
        SplitError : it was refused, or the service is out of reach.
        """
        asked, self._asked = self._asked, None
        if asked is not None:
            way, reply = asked
            self._try(lambda stream: stream.wait(reply) if reply is not None and stream is way else _nothing(stream))

    def close(self) -> None:
        """Waits for the last step, then ends the connection; what was not committed by the server's round is lost.

        Raises
        ------
        SplitError : as :meth:`flush`; the connection is ended all the same.
        """
        try:
            self.flush()
        finally:
            with self._opening:
                self._drop()

    @property
    def _deadline(self) -> int:
        return int(self.settings.reply_seconds * 1000)

    def _try(self, ask: Callable[[Stream], Answer]) -> Answer:
        """Asks until there is an answer; counts the seconds that it took."""
        began = time.monotonic()
        try:
            return self._persist(ask)
        finally:
            with self._lock:
                self.seconds += time.monotonic() - began

    def _persist(self, ask: Callable[[Stream], Answer]) -> Answer:
        """Reconnects, replays and waits longer each time."""
        failure = SplitError("none was made")
        for attempt in range(self.settings.attempts):
            if attempt:
                time.sleep(min(self.settings.first_wait * 2 ** (attempt - 1), self.settings.longest_wait))
            stream: Stream | None = None
            try:
                stream = self._live()
                with self._credits:
                    reply, tensor = ask(stream)
            except Broken as broken:
                if not broken.passing:
                    self._asked = None
                    raise
                failure = broken
            else:
                if reply.status == pb.STATUS_OK:
                    with self._lock:
                        self._journal.keep(reply.durable)
                    return reply, tensor
                failure = SplitError(f"the split service refused: {line(reply.message)}: {_name(reply)}")
                if reply.status not in PASSING:
                    raise failure
            with self._opening:
                if stream is None or stream is self._stream:
                    self._drop()
        self._asked = None
        raise SplitError(
            f"no success with the split service at {self._address!r} in {self.settings.attempts!r} attempts;"
            f" the last: {failure.message}",
            "see whether it runs, and whether this machine reaches it: `fellrec preflight` tells",
        )

    def _live(self) -> Stream:
        """The connection; a new one stands where this client stands, once what was lost is replayed."""
        with self._opening:
            if self._stream is None:
                if self._channel is None:
                    self._channel = self._open_channel()
                own = self.settings
                hello = pb.Hello(
                    protocol=PROTOCOL,
                    digest=own.digest,
                    config=own.config,
                    k=own.k,
                    m=own.m,
                    hidden_size=own.hidden_size,
                    codec=own.codec.number,
                    training=own.training,
                )
                stream = Stream(self._channel, self._token, hello, own.reply_seconds, self._count)
                if own.training:
                    try:
                        self._catch_up(stream)
                    except SplitError:
                        stream.close()
                        raise
                self._stream = stream
            return self._stream

    def _catch_up(self, stream: Stream) -> None:
        welcome, journal = stream.welcome, self._journal
        if self._round is None:
            self._round = welcome.version, welcome.round
            journal.step = welcome.step
        elif self._round != (welcome.version, welcome.round):
            raise SplitError(f"round {self._round[1]!r} is over: the service is in round {welcome.round!r}")
        self._number = max(self._number, welcome.number)
        for past in journal.since(welcome.step):
            for sent in past.micros:
                self._replay(stream, sent, past.step)
            self._expect_ok(stream.ask(self._step_request(past), (), 0)[0])
        for sent in journal.done:
            self._replay(stream, sent, journal.step)

    def _replay(self, stream: Stream, sent: Sent, step: int) -> None:
        # its answer was taken once
        self._expect_ok(self._send_backward(stream, sent, step, wants_input=False, with_input=True)[0])

    def _expect_ok(self, reply: pb.Reply) -> None:
        if reply.status != pb.STATUS_OK:
            raise Broken(
                f"the split service refused a repetition: {line(reply.message)}: {_name(reply)}",
                passing=reply.status in PASSING,
            )

    def _send_backward(
        self, stream: Stream, sent: Sent, step: int, wants_input: bool, with_input: bool = False
    ) -> Answer:
        request = pb.Request(
            number=sent.backward,
            op=pb.OP_BACKWARD,
            step=step,
            micros=[sent.name],
            rows=sent.rows.message(),
            tensors=[sent.tensor] * (2 if with_input else 1),
            input_gradient=wants_input,
            deadline_ms=self._deadline,
        )
        if sent.gradient is None:
            raise SplitError(f"micro-batch {sent.id!r} has no gradients to send", "run its backward first")
        payloads = [sent.gradient, sent.input] if with_input else [sent.gradient]
        reply, tensor = stream.ask(request, payloads, sent.rows.tokens if wants_input else 0)
        if reply.status == pb.STATUS_INPUT_WANTED and not with_input:
            # another request, with a number of its own: a late copy of this reply must not be taken for its reply
            sent.backward = self._next_number()
            return self._send_backward(stream, sent, step, wants_input, with_input=True)
        return reply, tensor

    def _step_request(self, step: Step) -> pb.Request:
        return pb.Request(
            number=step.number,
            op=pb.OP_STEP,
            step=step.step,
            micros=[sent.name for sent in step.micros],
            learning_rate=step.learning_rate,
            deadline_ms=self._deadline,
        )

    def _open_channel(self) -> grpc.Channel:
        # several channels of one process would share a connection, and with it one flow-control window
        options = [*CHANNEL_OPTIONS, ("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
        if self._root is None:
            return grpc.insecure_channel(self._address, options)
        chain, key = self._pair or (None, None)
        return grpc.secure_channel(self._address, grpc.ssl_channel_credentials(self._root, key, chain), options)

    def _drop(self) -> None:
        """Forgets the connection: a channel that has failed waits by itself, longer than is wanted here."""
        stream, self._stream = self._stream, None
        channel, self._channel = self._channel, None
        with suppress(grpc.RpcError):
            if stream is not None:
                stream.close()
            if channel is not None:
                channel.close()

    def _next_number(self) -> int:
        with self._lock:
            self._number += 1
            return self._number

    def _count(self, up: int, down: int) -> None:
        with self._lock:
            self.bytes_up += up
            self.bytes_down += down


def _nothing(stream: Stream) -> Answer:
    return pb.Reply(), None


def _name(reply: pb.Reply) -> str:
    return pb.Status.Name(reply.status).removeprefix("STATUS_")


def _check_size(rows: Rows, stream: Stream, past: int = 0) -> None:
    limit = stream.welcome.max_tokens
    if rows.count * (past + rows.width) > limit:
        raise SplitError(
            f"{rows.count!r} rows of width {past + rows.width!r} are more than the service's {limit!r} tokens",
            "take smaller batches",
        )


def _unpacked(rows: Rows, tokens: Tensor | None, like: Tensor) -> Tensor:
    if tokens is None:
        raise SplitError("a reply came without the tensor that was asked for", "client and service must agree")
    return rows.unpack(tokens).to(like.device, like.dtype)
