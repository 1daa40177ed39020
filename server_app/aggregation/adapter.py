"""The adapters of a round side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from common.errors import MessageError
from common.low_rank import Adapter

BLOCK = 1 << 20
"""Numbers of one tensor that are held in float64 at once, per client."""


def places(adapters: Sequence[Adapter]) -> list[str]:
    """The clients' places in the order, for messages where their keys are not at hand."""
    return [str(place) for place in range(len(adapters))]


def check_names(adapters: Sequence[Adapter], labels: Sequence[str]) -> None:
    """Refuse adapters of which one lacks a tensor that another has.

    Raises
    ------
    MessageError : naming the adapter by its label, and the tensor.
    """
    expected = set().union(*adapters)
    for label, adapter in zip(labels, adapters, strict=True):
        for name in sorted(expected - adapter.keys()):
            raise MessageError(f"{label} lacks tensor {name!r}", "all clients send the same tensors")


def check_shapes(adapters: Sequence[Adapter], names: Sequence[str], clients: Sequence[str]) -> None:
    """Refuse tensors of different shapes under one of the given names.

    Raises
    ------
    MessageError : naming client and tensor.
    """
    for name in names:
        for client, adapter in zip(clients, adapters, strict=True):
            if adapter[name].shape != adapters[0][name].shape:
                raise MessageError(
                    f"tensor {name!r} is {tuple(adapter[name].shape)!r} at client {client!r} "
                    f"and {tuple(adapters[0][name].shape)!r} at client {clients[0]!r}",
                    "only the ranks of LoRA pairs may differ, and only in a product merge",
                )


def side_by_side(tensors: Sequence[Tensor]) -> Iterator[tuple[slice, Tensor]]:
    """One tensor of all n clients, flattened, in float64 blocks [n, at most BLOCK] with the columns they cover."""
    flat = [tensor.reshape(-1) for tensor in tensors]
    for first in range(0, flat[0].numel(), BLOCK):
        columns = slice(first, first + BLOCK)
        yield columns, torch.stack([vector[columns].double() for vector in flat])
