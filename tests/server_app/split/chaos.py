"""A bad network: passes a session on, and drops, repeats, delays and cuts what passes, as a seed decides."""

from __future__ import annotations

import queue
import random
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc

from common.pb import split_pb2 as pb
from common.wire import CHANNEL_OPTIONS, METHOD, parse

FAULTS = ("drop", "repeat", "late copy", "cut before", "cut after")


class BadNetwork:
    """Listens at ``address`` and passes sessions on to ``target``.

    Parameters
    ----------
    rate : share of messages, each way, that meet a fault.
    """

    def __init__(self, target: str, seed: int, rate: float) -> None:
        self.met: Counter[str] = Counter()
        self._target, self._rate = target, rate
        self._random = random.Random(seed)
        self._server = grpc.server(ThreadPoolExecutor(64), options=CHANNEL_OPTIONS)
        service, method = METHOD.strip("/").split("/")
        handlers = {method: grpc.stream_stream_rpc_method_handler(self._pass_on)}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def stop(self) -> None:
        """Ends every session."""
        self._server.stop(0).wait()

    def _pass_on(self, messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        up: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        with grpc.insecure_channel(self._target, CHANNEL_OPTIONS) as channel:
            call = channel.stream_stream(METHOD)(iter(up.get, None), metadata=context.invocation_metadata())
            context.add_callback(call.cancel)

            def send() -> None:
                try:
                    for message in self._disturbed(messages, "up "):
                        up.put(message)
                except Exception:
                    call.cancel()
                up.put(None)

            threading.Thread(target=send, daemon=True).start()
            try:
                yield from self._disturbed(call, "down ")
            except grpc.RpcError as error:
                context.abort(error.code(), error.details())
            except ConnectionError:
                context.abort(grpc.StatusCode.UNAVAILABLE, "the network was cut")

    def _disturbed(self, messages: Iterator[bytes], way: str) -> Iterator[bytes]:
        late: list[list[bytes]] = []
        for group in _groups(messages):
            fault = self._random.choice(FAULTS) if self._random.random() < self._rate else "none"
            kind = parse(group[0]).WhichOneof("part")
            if kind in ("hello", "welcome") and fault not in ("cut before", "cut after"):
                fault = "none"
            self.met[way + fault] += 1
            if fault == "cut before":
                raise ConnectionError
            if fault != "drop":
                yield from group
            for copy in late:
                yield from copy
            late = [group] if fault == "late copy" else []
            if fault == "repeat":
                yield from group
            if fault == "cut after":
                raise ConnectionError


def _groups(messages: Iterator[bytes]) -> Iterator[list[bytes]]:
    """A head and its chunks, together, as soon as the last chunk is there."""
    for message in messages:
        frame, group = parse(message), [message]
        part = getattr(frame, frame.WhichOneof("part"))
        missing = 0
        if isinstance(part, pb.Request | pb.Reply):
            missing = sum(tensor.nbytes for tensor in part.tensors) - len(part.inline)
        while missing > 0:
            group.append(next(messages))
            missing -= len(parse(group[-1]))
        yield group
