"""Tensors in safetensors files, for what is mostly asked for its text.

torch takes seconds of CPU to import, and most questions to a run's folder need none of its tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def save_file(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Writes every tensor by itself, also those that share memory (clients that were given the same adapter).

    Raises
    ------
    OSError, SafetensorError : the file cannot be written.
    """
    from safetensors.torch import save_file as save

    save({name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}, path)


def load_file(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, on the CPU.

    Raises
    ------
    OSError, SafetensorError : the file cannot be read, or is none.
    """
    from safetensors.torch import load_file as load

    return load(path)
