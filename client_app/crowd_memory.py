"""What each client of a node keeps between rounds: its private tensors with their optimiser, and its privacy account.

Every client has a folder of its own. Tensors carry the round they are of, and the last three rounds are kept: a run that
is resumed a round or two earlier finds the state of that round, and goes on as if it had never been further.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from common.adapters.many import State, repeat
from common.errors import DataError
from common.privacy.accountant import Accountant
from common.privacy.noise import NoiseSettings

KEPT = 3
"""Rounds: a run goes on before two void rounds, which its clients trained in all the same."""
ACCOUNT = "account.json"
_ROUND = re.compile(r"private-(\d+)\.safetensors")


@dataclass
class PrivateState:
    """Private tensors of many clients, stacked [clients, ...], with Adam's two moments and its step count, int64 [clients]."""

    values: State
    first: State
    second: State
    steps: Tensor

    @classmethod
    def begin(cls, start: Mapping[str, Tensor], clients: int) -> PrivateState:
        """Everybody at the start."""
        zero = {name: torch.zeros_like(tensor) for name, tensor in start.items()}
        return cls(repeat(start, clients), repeat(zero, clients), repeat(zero, clients),
                   torch.zeros(clients, dtype=torch.int64))  # fmt: skip

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


class CrowdMemory:
    """The folders of many clients.

    Parameters
    ----------
    folder : gives a client's folder by its name.
    clients : in the order of the stacked tensors.
    """

    def __init__(self, folder: Callable[[str], Path], clients: Sequence[str]) -> None:
        self._folders = {client: folder(client) for client in clients}

    def load(self, start: Mapping[str, Tensor], before: int) -> PrivateState:
        """What every client has from its last round below ``before``; the start where it has none.

        Raises
        ------
        DataError : a file is damaged, or of another model.
        """
        state = PrivateState.begin(start, len(self._folders))
        if not start:
            return state
        for place, folder in enumerate(self._folders.values()):
            kept = [number for number in _rounds(folder) if number < before]
            if kept:
                path = _path(folder, max(kept))
                try:
                    found = load_file(path)
                    state.put(place, found["state"], found["steps"])
                except (OSError, SafetensorError, LookupError, ValueError) as error:
                    hint = "delete the file; the client goes on from the round before, or from the start"
                    raise DataError(f"the client's memory {str(path)!r} is damaged: {error}", hint) from error
        return state

    def save(self, state: PrivateState, number: int) -> None:
        """Keeps the state after round ``number``, and the round before it; later ones are of an abandoned way.

        A client whose state is not finite goes on from the round before.
        """
        if not state.values:
            return
        packed = state.packed()
        finite = torch.isfinite(packed).flatten(1).all(dim=1)
        for place, folder in enumerate(self._folders.values()):
            if not finite[place]:
                continue
            folder.mkdir(parents=True, exist_ok=True)
            path = _path(folder, number)
            partial = path.with_suffix(f".{os.getpid()}.part")
            # a row alone, since a file holds the whole storage of what it is given
            save_file({"state": packed[place].clone(), "steps": state.steps[place].clone()}, partial)
            os.replace(partial, path)
            found = _rounds(folder)
            kept = [other for other in found if other <= number][-KEPT:]
            for other in set(found) - set(kept):
                _path(folder, other).unlink(missing_ok=True)

    def charge(self, client: str, account: Accountant, release: NoiseSettings) -> float:
        """Counts one release of a client on its disk, before any noise is drawn; what all have cost so far.

        Parameters
        ----------
        account : an empty one with the run's budget.

        Raises
        ------
        RunError : the release would pass the budget, or the account is damaged; nothing is counted then.
        """
        path = self._folders[client] / ACCOUNT
        if path.is_file():
            try:
                account.restore(json.loads(path.read_text(encoding="utf-8")))
            except (OSError, ValueError, AttributeError) as error:
                raise DataError(
                    f"privacy account {str(path)!r} is damaged: {error}",
                    "start a new run; its releases count all the same",
                ) from error
        account.charge(release)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.part")
        with partial.open("w", encoding="utf-8") as file:
            json.dump(account.state(), file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        return account.epsilon


def _rounds(folder: Path) -> list[int]:
    names = map(_ROUND.fullmatch, os.listdir(folder) if folder.is_dir() else ())
    return sorted(int(name[1]) for name in names if name)


def _path(folder: Path, number: int) -> Path:
    return folder / f"private-{number:04d}.safetensors"
