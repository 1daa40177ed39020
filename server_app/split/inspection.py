"""What a request must be, checked on its header alone: before memory is taken and before anyone waits for it."""

from __future__ import annotations

import torch

from common.pb import split_pb2 as pb
from common.wire import ENDED, PROTOCOL, Codec, Refused, Rows, check_tensor
from server_app.split.cost import Cost
from server_app.split.settings import HostSettings, Limits

TENSORS = {
    pb.OP_INFER: (1,),
    pb.OP_FORWARD: (1,),
    pb.OP_BACKWARD: (1, 2),
    pb.OP_STEP: (0,),
    pb.OP_PREFILL: (1,),
    pb.OP_DECODE: (1,),
}
REMEDIES = {
    "protocol": "install the same version of fellrec",
    "digest": "the base weights differ: give both sides the same model",
    "config": "config.json differs in what it says of the computation: give both sides the same",
}
GENERATING = (pb.OP_PREFILL, pb.OP_DECODE)
TRAINING = (pb.OP_FORWARD, pb.OP_BACKWARD, pb.OP_STEP)


def check_hello(hello: pb.Hello, settings: HostSettings) -> Codec:
    """Whether the two sides mean the same thing; returns the session's codec.

    Raises
    ------
    Refused : FAILED_PRECONDITION for another protocol or model, INVALID_ARGUMENT for a codec that is not allowed.
    """
    ours = {
        "protocol": PROTOCOL,
        "digest": settings.digest,
        "config": settings.config,
        "k": settings.k,
        "m": settings.m,
        "hidden_size": settings.hidden_size,
    }
    for name, expected in ours.items():
        if (found := getattr(hello, name)) != expected:
            hint = REMEDIES.get(name, "give both sides the same model and cut")
            raise Refused(f"{name} is {found!r}, the service has {expected!r}", hint, "FAILED_PRECONDITION")
    codec = Codec.of(hello.codec)
    if codec not in settings.codecs:
        raise Refused(f"codec {str(codec)!r} is not allowed here", f"allowed: {', '.join(settings.codecs)}")
    return codec


def check_request(
    request: pb.Request, settings: HostSettings, dtype: torch.dtype, codec: Codec, cost: Cost
) -> Rows | None:
    """Refuses a request whose fields do not make sense by themselves; returns its rows, None for a step.

    Raises
    ------
    Refused : INVALID_ARGUMENT, or RESOURCE_EXHAUSTED for one that is too large.
    """
    limits = settings.limits
    if len(request.ended) > ENDED:
        raise Refused(
            f"a request ends {len(request.ended)!r} sequences", f"{ENDED} at most, the rest with the next one"
        )
    if request.op not in TENSORS:
        raise Refused(f"op is {request.op!r}", "known: infer, forward, backward, step, prefill, decode")
    name = pb.Op.Name(request.op)
    if request.number == 0:
        raise Refused(f"number is {request.number!r}", "requests are numbered from 1")
    if len(request.tensors) not in TENSORS[request.op]:
        raise Refused(f"{name} comes with {len(request.tensors)!r} tensors, expected {TENSORS[request.op]!r}")
    if request.bare and request.op in TRAINING:
        raise Refused(f"{name} is bare", "the base model alone is not trained")
    if request.HasField("sequence") != (request.op in GENERATING):
        raise Refused(f"{name} names {'a' if request.HasField('sequence') else 'no'} sequence")
    if request.op == pb.OP_STEP:
        if len(request.micros) > limits.micro_batches:
            raise Refused(
                f"a step names {len(request.micros)!r} micro-batches, more than 'split.limits.micro-batches' ="
                f" {limits.micro_batches!r}",
                "send larger ones, or raise it",
                "RESOURCE_EXHAUSTED",
            )
        return None
    if request.op in TRAINING and len(request.micros) != 1:
        raise Refused(f"{name} names {len(request.micros)!r} micro-batches, expected 1")
    if request.op in TRAINING and limits.training_tokens:
        _check_training(request.rows, limits.training_tokens)
    rows = Rows.from_message(request.rows, limits.tokens)
    for tensor in request.tensors:
        check_tensor(tensor, rows.tokens, settings.hidden_size, dtype, codec)
    if request.op in GENERATING:
        _check_sequence(request, rows, limits.tokens)
    _check_width(rows, request.sequence.past if request.op in GENERATING else 0, limits, cost)
    return rows


def _check_training(rows: pb.Rows, most: int) -> None:
    if rows.width * len(rows.starts) > most:
        raise Refused(
            f"{len(rows.starts)!r} rows of width {rows.width!r} are more than 'split.limits.training-tokens' = {most!r}",
            "take smaller micro-batches, or raise it",
            "RESOURCE_EXHAUSTED",
        )


def _check_width(rows: Rows, past: int, limits: Limits, cost: Cost) -> None:
    """Padding is computed like tokens, so a caller that sends little must not ask for much."""
    columns, hint = past + rows.width, "leave padding out, or take shorter texts"
    if cost.positions and columns > cost.positions:
        raise Refused(f"rows of width {columns!r}, the model reads {cost.positions!r}", hint)
    if limits.width and columns > limits.width:
        raise Refused(
            f"rows of width {columns!r}, more than 'split.limits.width' = {limits.width!r}", f"{hint}, or raise it"
        )
    cells = rows.count * rows.width
    # a window is padded whole, for a single token too
    if rows.width > cost.multiple and cells > limits.padding * rows.tokens:
        raise Refused(
            f"{cells!r} cells for {rows.tokens!r} tokens, more than 'split.limits.padding' = {limits.padding!r} each",
            f"{hint}, or raise it",
        )


def _check_sequence(request: pb.Request, rows: Rows, max_tokens: int) -> None:
    asked, past = request.sequence, request.sequence.past
    if asked.id == 0:
        raise Refused(f"the id of a sequence is {asked.id!r}", "sequences are numbered from 1")
    if rows.global_tokens:
        raise Refused("a sequence has global tokens", "only causal models generate")
    if request.op == pb.OP_PREFILL:
        if past or asked.dropped or asked.order or asked.starts:
            raise Refused("a prefill speaks of columns before it", "send OP_DECODE")
        return
    if past == 0:
        raise Refused(f"past is {past!r} in a decode", "send OP_PREFILL")
    if (past + rows.width) * rows.count > max_tokens:
        raise Refused(
            f"{rows.count!r} rows of {past!r} and {rows.width!r} columns are more than 'split.limits.tokens' ="
            f" {max_tokens!r}",
            "generate fewer rows at once, or raise it",
            "RESOURCE_EXHAUSTED",
        )
    if asked.order and len(asked.order) != rows.count:
        raise Refused(f"order has {len(asked.order)!r} entries for {rows.count!r} rows")
    if len(asked.starts) != (rows.count if rows.masked else 0):
        raise Refused(
            f"starts has {len(asked.starts)!r} entries for {rows.count!r} rows", "one per row of a masked batch"
        )
    if any(begin > past or (begin < past and start) for begin, start in zip(asked.starts, rows.starts, strict=False)):
        raise Refused("the tokens of a row are not one run, or begin beyond its past")
