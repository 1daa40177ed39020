"""A micro-batch between its forward and the optimiser step: what is held of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from common.wire import Rows
from server_app.split.adapter import Gradients
from server_app.split.memory import Held
from server_app.split.passes import Pass


@dataclass(eq=False)
class Micro:
    """One micro-batch of the current step.

    Attributes
    ----------
    forward : number of the request that brought it. backward : of the one that its gradients come from.
    tokens : its input [tokens, H], kept for recomputing; None where there was no room.
    graph : the pass that holds its autograd graph; None where there was no room, or the pass was given up.
    gradients : of the adapter, once there.
    """

    forward: int
    rows: Rows
    tokens: Tensor | None = None
    graph: HeldGraph | None = None
    gradients: Gradients | None = None
    backward: int = 0
    shares: list[Held] = field(default_factory=list)

    def finish(self, gradients: Gradients, backward: int, share: Held) -> None:
        """Takes the gradients in the place of everything else that is held."""
        self.release()
        self.gradients, self.backward, self.shares = gradients, backward, [share]

    def release(self) -> None:
        """Gives back all memory."""
        if self.graph is not None:
            self.graph.drop()
        for share in self.shares:
            share.release()
        self.tokens, self.gradients, self.shares = None, None, []


class HeldGraph:
    """A pass whose graph is held for all its micro-batches; it is of use only while all of them need it."""

    def __init__(self, made: Pass, micros: Sequence[Micro], shares: Sequence[Held]) -> None:
        self.made: Pass = made
        self.micros = list(micros)
        self._shares = shares
        for micro in micros:
            micro.graph = self

    def drop(self) -> None:
        """Frees the graph, once; its micro-batches will be recomputed."""
        if not self.micros:
            return
        for micro in self.micros:
            micro.graph = None
        for share in self._shares:
            share.release()
        del self.made
        self.micros, self._shares = [], []
