"""One live connection to the split service: requests out, replies back, matched by number."""

from __future__ import annotations

import itertools
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NoReply
from typing import Any, TypeVar

import grpc
import torch
from torch import Tensor

from common.errors import SplitError
from common.line import line
from common.pb import split_pb2 as pb
from common.wire import DTYPES, ENDED, METHOD, Codec, Inbox, Refused, check_tensor, frames, parse

T = TypeVar("T")
Answer = tuple[pb.Reply, Tensor | None]
"""A reply, and its tokens [tokens, H] where some were asked for."""

# what trying again can mend; anything else would be refused again
TRANSIENT = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "INTERNAL", "CANCELLED", "UNKNOWN")


class Broken(SplitError):
    """The connection ended, or a reply did not come in time; ``passing`` says whether trying again can help."""

    def __init__(self, message: str, hint: str = "", passing: bool = True) -> None:
        super().__init__(message, hint)
        self.passing = passing

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.message, self.hint, self.passing)


class Stream:
    """Opens a session and waits for the service's welcome.

    Parameters
    ----------
    channel : grpc.Channel
        Channel to the service.
    token : str
        Token of the client.
    hello : pb.Hello
        What the client means to talk to.
    seconds : float
        Seconds to wait for a reply at most.
    count : callable
        Called with the bytes of every message sent (up) and received (down).

    Attributes
    ----------
    welcome : pb.Welcome
        Where the service says that the client stands.

    Raises
    ------
    Broken : the service cannot be reached, or refuses the session.
    """

    def __init__(
        self, channel: grpc.Channel, token: str, hello: pb.Hello, seconds: float, count: Callable[[int, int], None]
    ) -> None:
        self._hidden_size, self._codec = hello.hidden_size, Codec.of(hello.codec)
        self._seconds, self._count = seconds, count
        self._outgoing: queue.SimpleQueue[Iterator[bytes] | None] = queue.SimpleQueue()
        self._tokens: dict[int, int] = {}
        self._pending: dict[int, Future[Answer]] = {}
        self._welcomed: Future[pb.Welcome] = Future()
        self._sequences = itertools.count(1)
        self._ended: deque[int] = deque()
        self._lock = threading.Lock()
        self._failure: Broken | None = None
        self._outgoing.put(frames(pb.Frame(hello=hello)))
        call: grpc.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(METHOD)
        self._call = call(self._messages(), metadata=(("authorization", f"Bearer {token}"),))
        threading.Thread(target=self._read, name="fellrec-link", daemon=True).start()
        self.welcome = self.wait(self._welcomed)
        if self.welcome.dtype not in DTYPES:
            raise Broken(f"the split service computes in dtype {self.welcome.dtype!r}, unknown here", passing=False)

    @property
    def dtype(self) -> torch.dtype:
        """In which the service computes and tensors travel."""
        return DTYPES[self.welcome.dtype]

    def ask(self, request: pb.Request, payloads: Sequence[Tensor], tokens: int) -> Answer:
        """Sends a request and waits for its reply: :meth:`send`, then :meth:`wait`."""
        return self.wait(self.send(request, payloads, tokens))

    def send(self, request: pb.Request, payloads: Sequence[Tensor] = (), tokens: int = 0) -> Future[Answer]:
        """Sends a request, whose reply is to come; where the connection has ended, what comes is that.

        Parameters
        ----------
        request : pb.Request
            What is asked, under a number of its own.
        payloads : Sequence of Tensor
            Payloads of the request's tensors, uint8.
        tokens : int
            Tokens of the tensor that is expected back; 0 expects none.
        """
        future: Future[Answer] = Future()
        with self._lock:
            if self._failure is not None:
                future.set_exception(self._failure)
                return future
            while self._ended and len(request.ended) < ENDED:
                request.ended.append(self._ended.popleft())
            self._tokens[request.number] = tokens
            self._pending[request.number] = future
        self._outgoing.put(frames(pb.Frame(request=request), payloads))
        return future

    def begin_sequence(self) -> int:
        """The id of a sequence that the service is to hold for this connection."""
        return next(self._sequences)

    def end_sequence(self, identity: int) -> None:
        """Lets the service know, with the next request, that nobody goes on with a sequence. Never blocks."""
        self._ended.append(identity)

    def close(self) -> None:
        """Ends the connection."""
        self._outgoing.put(None)
        self._call.cancel()

    def wait(self, future: Future[T]) -> T:
        """What was promised.

        Raises
        ------
        Broken : the connection ended, or nothing came in time; then it is closed.
        """
        try:
            return future.result(self._seconds)
        except NoReply:
            self.close()
            raise Broken(f"no reply from the split service within {self._seconds} s") from None
        except Broken:
            self.close()
            raise

    def _messages(self) -> Iterator[bytes]:
        while (message := self._outgoing.get()) is not None:
            for part in message:
                self._count(len(part), 0)
                yield part

    def _read(self) -> None:
        try:
            while (frame := self._next()) is not None:
                if not isinstance(frame, pb.Frame):
                    raise Broken("a 'chunk' came where a reply was expected", passing=False)
                part = frame.WhichOneof("part")
                if part == "welcome" and not self._welcomed.done():
                    self._welcomed.set_result(frame.welcome)
                elif part == "reply":
                    self._take(frame.reply)
                else:
                    raise Broken(f"a {part!r} came where a reply was expected", passing=False)
            self._fail(Broken("the split service ended the session"))
        except Broken as broken:
            self._fail(broken)
        except grpc.RpcError as error:
            status = error.code().name
            self._fail(Broken(f"{line(error.details() or '')}: {status}", passing=status in TRANSIENT))
        except Refused as refused:
            self._fail(Broken(f"the split service sent what it must not: {refused.message}", passing=False))

    def _take(self, reply: pb.Reply) -> None:
        if reply.number not in self._tokens:
            raise Broken(f"a reply came to request {reply.number!r}, which was not sent", passing=False)
        expected = 1 if self._tokens[reply.number] and reply.status == pb.STATUS_OK else 0
        if len(reply.tensors) != expected:
            raise Broken(f"a reply came with {len(reply.tensors)!r} tensors, expected {expected!r}", passing=False)
        for tensor in reply.tensors:
            check_tensor(tensor, self._tokens[reply.number], self._hidden_size, self.dtype, self._codec)
        inbox = Inbox(reply)
        while not inbox.full:
            chunk = self._next()
            if not isinstance(chunk, memoryview):
                raise Broken("the split service ended the session within a reply")
            inbox.add(chunk)
        tensors = inbox.tensors(self.dtype)
        with self._lock:
            future = self._pending.pop(reply.number, None)
        if future is not None:
            future.set_result((reply, tensors[0] if tensors else None))

    def _next(self) -> pb.Frame | memoryview | None:
        message = next(self._call, None)
        if message is None:
            return None
        self._count(0, len(message))
        return parse(message)

    def _fail(self, broken: Broken) -> None:
        with self._lock:
            self._failure = broken
            waiting: list[Future[Any]] = [self._welcomed, *self._pending.values()]
            self._pending.clear()
        for future in waiting:
            if not future.done():
                future.set_exception(broken)
        self._outgoing.put(None)
