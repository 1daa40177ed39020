"""The private tensors of many small models side by side, and where each client keeps its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from client_app.memory import KEPT, Memory
from common.adapters.many import State, repeat
from common.errors import DataError


@dataclass
class ClickState:
    """Tensors that clients train themselves.

    Attributes
    ----------
    values, first, second : State
        Tensors and Adam's two moments, stacked [clients, ...].
    steps : Tensor
        Adam's step count, int64 [clients].
    """

    values: State
    first: State
    second: State
    steps: Tensor

    @classmethod
    def begin(cls, start: Mapping[str, Tensor], clients: int) -> ClickState:
        """Everybody at the start."""
        zero = {name: torch.zeros_like(tensor) for name, tensor in start.items()}
        return cls(
            repeat(start, clients),
            repeat(zero, clients),
            repeat(zero, clients),
            torch.zeros(clients, dtype=torch.int64),
        )

    @classmethod
    def load(cls, start: Mapping[str, Tensor], memories: Sequence[Memory], before: int, rounds: int = 1) -> ClickState:
        """What every client has from its last rounds below ``before``; the start where it has none.

        Parameters
        ----------
        start : Mapping[str, Tensor]
            Tensors of one client as a run starts with them.
        memories : Sequence[Memory]
            Where each client keeps its own.
        before : int
            Round that is about to begin.
        rounds : int
            Rounds whose mean the values are; the moments are the last one's.

        Raises
        ------
        DataError : a file is damaged, or of another model.
        """
        state = cls.begin(start, len(memories))
        if not start:
            return state
        for place, memory in enumerate(memories):
            kept = memory.kept(before, rounds)
            if not kept:
                continue
            try:
                packed = kept[-1]["state"]
                if len(kept) > 1:
                    packed[0] = torch.stack([one["state"][0].double() for one in kept]).mean(dim=0).to(packed.dtype)
                state.put(place, packed, kept[-1]["steps"])
            except (LookupError, ValueError, RuntimeError) as error:
                raise DataError(
                    f"the memory of a client is damaged, or of another model: {error}",
                    "delete its file; the client goes on from the round before, or from the start",
                ) from error
        return state

    def save(self, memories: Sequence[Memory], round_number: int, rounds: int = KEPT) -> None:
        """Keeps the state after a round; a client whose state is not finite goes on from the round before."""
        if not self.values:
            return
        packed = self.packed()
        finite = torch.isfinite(packed).flatten(1).all(dim=1)
        for place, memory in enumerate(memories):
            if finite[place]:
                # a row alone, since a file holds the whole storage of what it is given
                row = {"state": packed[place].clone(), "steps": self.steps[place].clone()}
                memory.keep(round_number, row, rounds)

    def packed(self) -> Tensor:
        """Values and both moments of every client, [clients, 3, numbers]: a file of one tensor is quick to write."""
        rows = [torch.cat([tensor.flatten(1) for tensor in state.values()], dim=1) for state in self._states()]
        return torch.stack(rows, dim=1)

    def put(self, client: int, packed: Tensor, steps: Tensor) -> None:
        """Takes up one client's row of :meth:`packed`; raises ValueError where it does not fit."""
        sizes = [tensor[0].numel() for tensor in self.values.values()]
        if packed.shape != (3, sum(sizes)) or packed.dtype != torch.float32 or not torch.isfinite(packed).all():
            raise ValueError(f"{packed.dtype} of shape {tuple(packed.shape)!r} for {sum(sizes)} numbers, or not finite")
        for state, row in zip(self._states(), packed, strict=True):
            for (name, tensor), part in zip(state.items(), row.split(sizes), strict=True):
                state[name][client] = part.view(tensor.shape[1:])
        self.steps[client] = steps

    def _states(self) -> tuple[State, State, State]:
        return self.values, self.first, self.second
