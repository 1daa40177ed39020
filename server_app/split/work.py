"""A request on its way through the service."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from common.errors import SplitError
from common.pb import split_pb2 as pb
from common.wire import Rows
from server_app.split.answer import Answer
from server_app.split.cost import FACTORS
from server_app.split.memory import Held
from server_app.split.micro import HeldGraph


class Caller(Protocol):
    """Who asked, and takes the answer; one owner may call as several clients, and has one share."""

    client: str
    owner: str

    @property
    def gone(self) -> bool:
        """Whether no answer is awaited any more."""

    def __hash__(self) -> int:
        """By identity."""

    def answer(self, work: Work, answer: Answer, version: int, step: int, durable: int) -> None:
        """Takes an answer and where the client's adapter stands; called once, by the compute thread."""


@dataclass(eq=False)
class Work:
    """A checked request with its tensors [tokens, H].

    Attributes
    ----------
    share : of the memory that its tensors take. arrived, expires : on the monotonic clock.
    charge : cells of one pass, with attention's. overhead : cells that any request is worth.
    graph : for a backward, the pass whose graph it may use; set when it is queued.
    """

    caller: Caller
    request: pb.Request
    rows: Rows | None
    tensors: Sequence[Tensor]
    share: Held
    arrived: float
    expires: float
    charge: int = 0
    overhead: int = 0
    graph: HeldGraph | None = None
    answered: bool = False

    @property
    def client(self) -> str:
        """Whose it is."""
        return self.caller.client

    @property
    def owner(self) -> str:
        """Whose share of the service it takes."""
        return self.caller.owner

    @property
    def layout(self) -> Rows:
        """Where its tokens lie; only a step brings none, and computes none.

        Raises
        ------
        SplitError : it is a step.
        """
        if self.rows is None:
            raise SplitError(f"request {self.request.number!r} brings no rows")
        return self.rows

    @property
    def cost(self) -> int:
        """What it costs to compute, in cells."""
        return FACTORS[self.request.op] * self.charge + self.overhead

    @property
    def cells(self) -> int:
        """Rows times width, padding included."""
        return self.rows.count * self.rows.width if self.rows else 0
