"""What one client keeps between messages, on its own disk and never sent: tensors, its last rounds, its privacy account.

Flower's ``context.state`` loses large content silently and does not outlive a node's process, so what a client must
remember lies in a folder, keyed by run and client. Private tensors carry the round they are of, and the last rounds are
kept: a run that is resumed a round or two earlier finds the state of that round, and goes on as if it had never been
further.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from common.errors import DataError
from common.privacy.accountant import Accountant
from common.privacy.noise import NoiseSettings

KEPT = 3
"""Rounds, at least: a run goes on before two void rounds, which its clients trained in all the same."""

ACCOUNT = "account.json"
_ROUND = re.compile(r"private-(\d+)\.safetensors")


class Memory:
    """One client's folder; a file is written whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def shared(self) -> Memory:
        """What all clients of this home share over runs: content that is the same whoever makes it."""
        return Memory(self._folder.parent.parent / "shared")

    def save(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Writes a named set of tensors."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{name}.safetensors"
        partial = path.with_suffix(f".{os.getpid()}.part")
        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, partial)
        os.replace(partial, path)

    def load(self, name: str) -> dict[str, Tensor] | None:
        """The tensors saved under ``name``, or None.

        Raises
        ------
        DataError : the file is there but damaged.
        """
        path = self._folder / f"{name}.safetensors"
        if not path.exists():
            return None
        try:
            return load_file(path)
        except SafetensorError as error:
            raise self._damaged(
                path,
                error,
                "restore it from a backup, or delete it: it is made anew where the model that made it is still there",
            ) from error

    def keep(self, round_number: int, tensors: Mapping[str, Tensor], rounds: int = KEPT) -> None:
        """Keeps private tensors after a round, and those of the rounds before it; later ones are of an abandoned way.

        Parameters
        ----------
        round_number : int
            Round that the tensors are of.
        tensors : Mapping[str, Tensor]
            Tensors by name.
        rounds : int
            Rounds that are kept, this one included.
        """
        self.save(_name(round_number), tensors)
        found = self._rounds()
        kept = [other for other in found if other <= round_number][-max(rounds, KEPT) :]
        for other in set(found) - set(kept):
            (self._folder / f"{_name(other)}.safetensors").unlink(missing_ok=True)

    def kept(self, before: int, rounds: int = 1) -> list[dict[str, Tensor]]:
        """The private tensors of the last ``rounds`` rounds below ``before``, oldest first; empty where there are none.

        Raises
        ------
        DataError : a file is damaged.
        """
        numbers = [number for number in self._rounds() if number < before][-rounds:]
        found = []
        for number in numbers:
            path = self._folder / f"{_name(number)}.safetensors"
            try:
                found.append(load_file(path))
            except (OSError, SafetensorError) as error:
                raise self._damaged(
                    path, error, "delete the file; the client goes on from the round before, or from the start"
                ) from error
        return found

    def charge(self, account: Accountant, release: NoiseSettings) -> float:
        """Counts one release on the disk, before any noise is drawn.

        Parameters
        ----------
        account : Accountant
            An empty one with the run's budget.
        release : NoiseSettings
            Noise of the release.

        Returns
        -------
        float
            What all releases so far have cost.

        Raises
        ------
        RunError : the release would pass the budget; nothing is counted then.
        DataError : the account is damaged.
        """
        path = self._folder / ACCOUNT
        if path.is_file():
            try:
                account.restore(json.loads(path.read_text(encoding="utf-8")))
            except (OSError, ValueError, AttributeError) as error:
                raise DataError(
                    f"privacy account {str(path)!r} is damaged: {error}",
                    "start a new run; its releases count all the same",
                ) from error
        account.charge(release)
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.part")
        with partial.open("w", encoding="utf-8") as file:
            json.dump(account.state(), file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        return account.epsilon

    def _rounds(self) -> list[int]:
        names = map(_ROUND.fullmatch, os.listdir(self._folder) if self._folder.is_dir() else ())
        return sorted(int(name[1]) for name in names if name)

    def _damaged(self, path: Path, error: Exception, hint: str) -> DataError:
        return DataError(f"the client's memory {str(path)!r} is damaged: {error}", hint)


def _name(round_number: int) -> str:
    return f"private-{round_number:04d}"
