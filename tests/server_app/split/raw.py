"""A caller that sends whatever it likes."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import grpc
import torch
from torch import Tensor

from common.pb import split_pb2 as pb
from common.wire import CHANNEL_OPTIONS, METHOD, PROTOCOL, Codec, Rows, announce
from tests.server_app.split.tiny import WIDTH


def hello(**changes: object) -> bytes:
    """A good Hello to a BERT cut at (1, 1); ``changes`` make it another."""
    fields = {
        "protocol": PROTOCOL,
        "digest": "bert",
        "k": 1,
        "m": 1,
        "hidden_size": WIDTH,
        "codec": Codec.FP32.number,
        "training": True,
    }
    return pb.Frame(hello=pb.Hello(**{**fields, **changes})).SerializeToString()


def hidden(rows: int = 2, width: int = 3, value: float | None = None) -> Tensor:
    """Hidden states, all of one value or random."""
    if value is not None:
        return torch.full((rows, width, WIDTH), value)
    return torch.randn(rows, width, WIDTH, generator=torch.Generator().manual_seed(1))


def request(op: int, tensors: Sequence[Tensor] = (), /, **changes: object) -> pb.Request:
    """A good request of an operation, with micro-batch 1 whose forward is request 1."""
    rows = Rows.of(tensors[0], None, None).message() if tensors else None
    micros = [] if op == pb.OP_INFER else [pb.Micro(id=1, forward=1)]
    announced = [announce(tensor.flatten(0, 1), Codec.FP32) for tensor in tensors]
    fields = {
        "number": 1,
        "op": op,
        "step": 0,
        "micros": micros,
        "rows": rows,
        "tensors": announced,
        "input_gradient": True,
    }
    return pb.Request(**{**fields, **changes})


def messages(asked: pb.Request, tensors: Sequence[Tensor] = ()) -> list[bytes]:
    """A request, and a chunk for each of its tensors."""
    chunks = [pb.Frame(chunk=tensor.contiguous().numpy().tobytes()) for tensor in tensors]
    return [frame.SerializeToString() for frame in (pb.Frame(request=asked), *chunks)]


def ask(op: int, tensors: Sequence[Tensor] = (), /, **changes: object) -> list[bytes]:
    """The messages of a request."""
    return messages(request(op, tensors, **changes), tensors)


class Raw:
    """A session in which the messages are sent as they are.

    Parameters
    ----------
    lingers : whether the caller's side stays open after the last message.
    """

    def __init__(self, address: str, token: str, sent: Sequence[bytes], lingers: bool = True) -> None:
        self._channel = grpc.insecure_channel(address, [*CHANNEL_OPTIONS, ("grpc.use_local_subchannel_pool", 1)])
        self._done = threading.Event()
        metadata = [("authorization", f"Bearer {token}")] if token else []

        def outgoing() -> Iterator[bytes]:
            yield from sent
            if lingers:
                self._done.wait(20)

        self._call = self._channel.stream_stream(METHOD)(outgoing(), metadata=metadata, timeout=20)

    def heads(self) -> Iterator[pb.Frame]:
        """The frames that are no chunks."""
        for message in self._call:
            frame = pb.Frame.FromString(message)
            if frame.WhichOneof("part") != "chunk":
                yield frame

    def outcome(self, replies: int = -1) -> str:
        """The status that the session ends with, or else that of the last reply; closes it after so many replies."""
        last = "none"
        try:
            for frame in self.heads():
                if frame.WhichOneof("part") == "reply":
                    last = pb.Status.Name(frame.reply.status).removeprefix("STATUS_")
                    replies -= 1
                    if replies == 0:
                        break
        except grpc.RpcError as error:
            last = error.code().name
        self.close()
        return last

    def close(self) -> None:
        """Cuts the session."""
        self._done.set()
        self._call.cancel()
        self._channel.close()
