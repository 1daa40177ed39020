"""What the split service's transport is measured against: plain unary gRPC with protobuf messages, and a raw socket."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection

import grpc
import numpy as np
import torch
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from torch import Tensor

from benchmarks.child import wait

SERVICE = "fellrec.benchmark.Naive"
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
LENGTH = struct.Struct("!Q")
FORMS = ("Bytes", "Floats")


def _messages() -> dict[str, type]:
    """``message Bytes {repeated uint32 shape = 1; bytes values = 2;}``, and the same with ``repeated float values``."""
    file = descriptor_pb2.FileDescriptorProto(name="fellrec_naive.proto", package="fellrec.benchmark", syntax="proto3")
    field = descriptor_pb2.FieldDescriptorProto
    values = {"Bytes": (field.TYPE_BYTES, field.LABEL_OPTIONAL), "Floats": (field.TYPE_FLOAT, field.LABEL_REPEATED)}
    for form in FORMS:
        message = file.message_type.add(name=form)
        message.field.add(name="shape", number=1, type=field.TYPE_UINT32, label=field.LABEL_REPEATED)
        kind, label = values[form]
        message.field.add(name="values", number=2, type=kind, label=label)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        form: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"fellrec.benchmark.{form}")) for form in FORMS
    }


MESSAGES = _messages()


def _pack(tensor: Tensor, form: str) -> bytes:
    array = tensor.numpy()
    values = array.tobytes() if form == "Bytes" else array.ravel()
    return MESSAGES[form](shape=array.shape, values=values).SerializeToString()


def _unpack(message: bytes, form: str) -> Tensor:
    parsed = MESSAGES[form].FromString(message)
    if form == "Bytes":
        # a copy: what frombuffer makes of bytes cannot be written to
        return torch.from_numpy(np.frombuffer(parsed.values, np.float32).reshape(parsed.shape).copy())
    return torch.from_numpy(np.array(parsed.values, np.float32).reshape(parsed.shape))


def serve(connection: Connection) -> None:
    """Sends back what it gets, over gRPC in each form and over a socket; tells the two ports."""
    server = grpc.server(ThreadPoolExecutor(4), options=UNLIMITED)
    handlers = {
        form: grpc.unary_unary_rpc_method_handler(
            lambda tensor, context: tensor,
            lambda message, form=form: _unpack(message, form),
            lambda tensor, form=form: _pack(tensor, form),
        )
        for form in FORMS
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=_echo, args=(listener,), daemon=True).start()
    connection.send((port, listener.getsockname()[1]))
    wait(connection)
    server.stop(0).wait()


def unary(channel: grpc.Channel, form: str) -> Callable[[Tensor], Tensor]:
    """A tensor there and back, in one of ``FORMS``."""
    return channel.unary_unary(
        f"/{SERVICE}/{form}", lambda tensor: _pack(tensor, form), lambda message: _unpack(message, form)
    )


def raw(connected: socket.socket) -> Callable[[Tensor], Tensor]:
    """A tensor there and back over a socket: the floor."""

    def call(tensor: Tensor) -> Tensor:
        answer = torch.empty_like(tensor)
        view = memoryview(tensor.numpy()).cast("B")
        connected.sendall(LENGTH.pack(len(view)))
        connected.sendall(view)
        _receive(connected, memoryview(answer.numpy()).cast("B"))
        return answer

    return call


def _echo(listener: socket.socket) -> None:
    accepted, _ = listener.accept()
    accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with accepted:
        length = bytearray(LENGTH.size)
        while _receive(accepted, memoryview(length)):
            content = torch.empty(LENGTH.unpack(length)[0], dtype=torch.uint8)
            _receive(accepted, memoryview(content.numpy()))
            accepted.sendall(memoryview(content.numpy()))


def _receive(connected: socket.socket, view: memoryview) -> bool:
    """Fills ``view``; False where the other side has ended."""
    while view:
        count = connected.recv_into(view)
        if not count:
            return False
        view = view[count:]
    return True
