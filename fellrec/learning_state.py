"""Where an interrupted pre-training stood: weights, optimisers and counters, in one safetensors file."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

COUNTERS = "counters"


def keep(path: Path, model: nn.Module, optimisers: Sequence[Optimizer], counters: Mapping[str, float]) -> None:
    """Write the state to ``path``, whole or not at all."""
    tensors = {f"model.{name}": parameter.detach() for name, parameter in model.named_parameters()}
    tensors |= {name: tensor.contiguous() for name, tensor in _moments(optimisers).items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    building = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        save_file(tensors, building, metadata={COUNTERS: json.dumps(dict(counters))})
        building.replace(path)
    finally:
        building.unlink(missing_ok=True)


def take_up(path: Path, model: nn.Module, optimisers: Sequence[Optimizer]) -> dict[str, float] | None:
    """Put the state of ``path`` into the model and its optimisers; its counters, or None where there is none to read."""
    try:
        with safe_open(path, framework="pt") as opened:
            counters: dict[str, float] = json.loads(opened.metadata()[COUNTERS])
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return None
    for name, parameter in model.named_parameters():
        parameter.data.copy_(tensors[f"model.{name}"])
    for place, optimiser in enumerate(optimisers):
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            first, *rest = name.split(".")
            if first == f"optimiser{place}":
                state.setdefault(int(rest[0]), {})[rest[1]] = tensor
        optimiser.load_state_dict(optimiser.state_dict() | {"state": state})
    return counters


def _moments(optimisers: Sequence[Optimizer]) -> dict[str, Tensor]:
    return {
        f"optimiser{place}.{number}.{key}": tensor
        for place, optimiser in enumerate(optimisers)
        for number, state in optimiser.state_dict()["state"].items()
        for key, tensor in state.items()
    }
