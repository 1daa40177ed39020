"""What the compute thread answers to a request."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from common.pb import split_pb2 as pb


@dataclass(frozen=True)
class Answer:
    """A status and, for a pass, its tokens [tokens, H]."""

    tensor: Tensor | None = None
    status: pb.Status = pb.STATUS_OK
    message: str = ""
