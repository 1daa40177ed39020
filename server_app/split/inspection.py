"""What a request must be, checked on its header alone: before memory is taken and before anyone waits for it."""

from __future__ import annotations

import torch

from common.pb import split_pb2 as pb
from common.wire import PROTOCOL, Codec, Refused, Rows, check_tensor
from server_app.split.settings import HostSettings

TENSORS = {pb.OP_INFER: (1,), pb.OP_FORWARD: (1,), pb.OP_BACKWARD: (1, 2), pb.OP_STEP: (0,)}
TRAINING = (pb.OP_FORWARD, pb.OP_BACKWARD, pb.OP_STEP)


def check_hello(hello: pb.Hello, settings: HostSettings) -> Codec:
    """Whether the two sides mean the same thing; returns the session's codec.

    Raises
    ------
    Refused : FAILED_PRECONDITION for another protocol or model, INVALID_ARGUMENT for a codec that is not allowed.
    """
    ours = {"protocol": PROTOCOL, "digest": settings.digest, "k": settings.k, "m": settings.m,
            "hidden_size": settings.hidden_size}  # fmt: skip
    for name, expected in ours.items():
        if (found := getattr(hello, name)) != expected:
            hint = (
                "install the same version of fellrec"
                if name == "protocol"
                else "give both sides the same model and cut"
            )
            raise Refused(f"{name} is {found!r}, the service has {expected!r}", hint, "FAILED_PRECONDITION")
    codec = Codec.of(hello.codec)
    if codec not in settings.codecs:
        raise Refused(f"codec {str(codec)!r} is not allowed here", f"allowed: {', '.join(settings.codecs)}")
    return codec


def check_request(request: pb.Request, settings: HostSettings, dtype: torch.dtype, codec: Codec) -> Rows | None:
    """Refuses a request whose fields do not make sense by themselves; returns its rows, None for a step.

    Raises
    ------
    Refused : INVALID_ARGUMENT, or RESOURCE_EXHAUSTED for one that is too large.
    """
    if request.op not in TENSORS:
        raise Refused(f"op is {request.op!r}", "known: infer, forward, backward, step")
    name = pb.Op.Name(request.op)
    if request.number == 0:
        raise Refused(f"number is {request.number!r}", "requests are numbered from 1")
    if len(request.tensors) not in TENSORS[request.op]:
        raise Refused(f"{name} comes with {len(request.tensors)!r} tensors, expected {TENSORS[request.op]!r}")
    if request.op == pb.OP_STEP:
        if len(request.micros) > settings.limits.micro_batches:
            raise Refused(f"a step names {len(request.micros)!r} micro-batches", "", "RESOURCE_EXHAUSTED")
        return None
    if request.op in TRAINING and len(request.micros) != 1:
        raise Refused(f"{name} names {len(request.micros)!r} micro-batches, expected 1")
    rows = Rows.from_message(request.rows, settings.limits.tokens)
    for tensor in request.tensors:
        check_tensor(tensor, rows.tokens, settings.hidden_size, dtype, codec)
    return rows
