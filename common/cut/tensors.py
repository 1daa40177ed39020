"""The tensors of one safetensors file, a few at a time, and what tells one from another."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from common.errors import ModelError

MAPPED_BYTES = 16 << 20


def tensor_names(file: Path) -> list[str]:
    """What a file holds.

    Raises
    ------
    ModelError : it cannot be read.
    """
    try:
        with safe_open(file, framework="pt") as opened:
            return list(opened.keys())
    except (OSError, SafetensorError) as error:
        raise _unreadable(file, error) from error


def stored_tensors(file: Path, names: Iterable[str]) -> Iterator[Tensor]:
    """The named tensors in turn, each a view into the file that is to be let go before the next is asked for.

    A page that was read stays with its mapping, so that one mapping would count as much memory as the file has bytes,
    beside the copies that a caller makes. It is made anew every 16 MiB: more often, and a file of many small tensors
    would be slow, for the header is parsed each time.

    Raises
    ------
    ModelError : the file cannot be read, or lacks a tensor.
    """
    rest = deque(names)
    while rest:
        try:
            with safe_open(file, framework="pt") as opened:
                nbytes = 0
                while rest and nbytes < MAPPED_BYTES:
                    tensor = opened.get_tensor(rest.popleft())
                    nbytes += tensor.nbytes
                    yield tensor
                    del tensor
        except (OSError, SafetensorError) as error:
            raise _unreadable(file, error) from error


def tensor_digest(name: str, tensor: Tensor) -> str:
    """SHA-256 over a tensor's stored name, dtype, shape and bytes, as hexadecimal digits."""
    state = hashlib.sha256(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
    state.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return state.hexdigest()


def _unreadable(file: Path, error: Exception) -> ModelError:
    return ModelError(f"{str(file)!r} cannot be read: {error}", "fetch the model again")
