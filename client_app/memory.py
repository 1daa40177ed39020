"""A client's private memory between messages: tensors on its own disk, never sent.

Flower's ``context.state`` loses large content silently and does not outlive a node's process, so what a client must
remember lies in a folder, keyed by run and client.
"""

from __future__ import annotations

import os
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from common.errors import DataError


class Memory:
    """Named sets of tensors in one folder; a set is written whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def shared(self) -> Memory:
        """What all clients of this home share over runs: content that is the same whoever makes it."""
        return Memory(self._folder.parent.parent / "shared")

    def save(self, name: str, tensors: dict[str, Tensor]) -> None:
        """Writes to a temporary name, then renames."""
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
            raise DataError(
                f"the client's memory {str(path)!r} is damaged: {error}",
                "restore it from a backup, or delete it: it is made anew where the model that made it is still there",
            ) from error
