"""Tensors as they travel: names, shapes and values that the receiver expects, or a refusal that names what is wrong."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

import torch
from flwr.app import ArrayRecord
from torch import Tensor

from common.errors import MessageError
from common.low_rank import Adapter

LARGEST_VALUE = 1e8
"""A value of an adapter beyond this is nonsense, and so far below float32's end that its square still fits."""


def check_adapter(adapter: Mapping[str, Tensor], like: Mapping[str, Tensor], sender: str, clients: int = 0) -> None:
    """Refuses tensors whose names, shapes or dtypes are not what they must be.

    Parameters
    ----------
    adapter : Mapping[str, Tensor]
        What was sent.
    like : Mapping[str, Tensor]
        A tensor of each name in one client's shape.
    sender : str
        Who sent it, for the message of the error.
    clients : int
        Rows that every tensor has, one for each client; 0 for tensors of one client, without that axis.

    Raises
    ------
    MessageError : naming the sender, the tensor and what is wrong with it.
    """
    if adapter.keys() != like.keys():
        odd = sorted(adapter.keys() ^ like.keys())[0]
        fault = "is missing" if odd in like else "is unknown"
        raise MessageError(
            f"{sender}: tensor {odd!r} {fault}", "server and clients must use the same model and adapter settings"
        )
    for name, tensor in adapter.items():
        expected = (clients, *like[name].shape) if clients else tuple(like[name].shape)
        if tuple(tensor.shape) != expected:
            raise MessageError(f"{sender}: tensor {name!r} has shape {tuple(tensor.shape)}, not {expected}")
        if tensor.dtype != like[name].dtype:
            raise MessageError(f"{sender}: tensor {name!r} is {tensor.dtype}, not {like[name].dtype}")


def odd_values(stacked: Mapping[str, Tensor]) -> dict[int, str]:
    """What is wrong with the values of some clients, by their places: not finite, or beyond :data:`LARGEST_VALUE`.

    Parameters
    ----------
    stacked : Mapping[str, Tensor]
        Tensors [clients, ...] by name; all clients are looked at in one go.
    """
    found: dict[int, str] = {}
    for name, tensor in stacked.items():
        rows = tensor.detach().reshape(len(tensor), -1)
        if not rows.numel():
            continue
        # of a row with a value that is not finite the largest is none either
        largest = rows.abs().amax(dim=1)
        for place in (~(largest <= LARGEST_VALUE)).nonzero().flatten().tolist():
            finite = bool(torch.isfinite(rows[place]).all())
            fault = f"holds values beyond {LARGEST_VALUE:g}" if finite else "holds values that are not finite"
            found.setdefault(place, f"tensor {name!r} {fault}")
    return found


def array_record(adapter: Adapter) -> ArrayRecord:
    """The tensors as Flower carries them."""
    return ArrayRecord(OrderedDict(adapter))
