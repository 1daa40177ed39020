"""Many clients' copies of one small model in one process.

A model is code and named tensors. Tensors that differ between clients are stacked, [clients, ...], the others are
shared; ``torch.func.vmap`` then runs all clients at once, each on its own inputs. Gradients of a sum over the clients
are each client's own, and an optimiser that works element by element (Adam, SGD) treats each as if it were alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from common.errors import ModelError

State = dict[str, Tensor]
"""Tensors by name; stacked ones have a leading axis of clients."""


def stack(states: Sequence[Mapping[str, Tensor]]) -> State:
    """One state [clients, ...] from the clients' own; raises ModelError where their names or shapes differ."""
    if not states:
        raise ModelError("no states to stack", "pass one for each client, at least one")
    for place, state in enumerate(states):
        if state.keys() != states[0].keys() or any(state[n].shape != states[0][n].shape for n in state):
            raise ModelError(f"state {place!r} differs from the first in names or shapes", "stack one model's states")
    return {name: torch.stack([state[name] for state in states]) for name in states[0]}


def repeat(state: Mapping[str, Tensor], clients: int) -> State:
    """The same state for every client, as copies of its own."""
    return {name: tensor.detach().expand(clients, *tensor.shape).clone() for name, tensor in state.items()}


def pick(stacked: Mapping[str, Tensor], clients: Tensor | slice | int) -> State:
    """The states of some clients (positions), or of one without the leading axis."""
    return {name: tensor[clients] for name, tensor in stacked.items()}


def run(model: nn.Module, stacked: Mapping[str, Tensor], *inputs: Tensor) -> Tensor:
    """All clients' outputs [clients, ...] for inputs [clients, ...]; names that ``stacked`` lacks are the model's own.

    Raises
    ------
    ModelError : a name that the model does not have, or leading axes that differ.
    """
    known = model.state_dict(keep_vars=True)
    unknown = sorted(stacked.keys() - known.keys())
    if unknown:
        raise ModelError(f"stacked tensor {unknown[0]!r} is unknown to the model", "stack tensors of this model")
    sizes = {len(tensor) for tensor in (*stacked.values(), *inputs)}
    if len(sizes) > 1:
        raise ModelError(f"stacked tensors and inputs are for {sorted(sizes)!r} clients", "give one row to each client")
    one = vmap(lambda state, *given: functional_call(model, state, given), randomness="different")
    outputs: Tensor = one(dict(stacked), *inputs)
    return outputs
