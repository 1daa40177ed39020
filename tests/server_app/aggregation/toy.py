"""Small adapters to mix: two LoRA layers and a plain tensor."""

from __future__ import annotations

import torch
from torch import Tensor

from common.low_rank import Adapter
from server_app.aggregation.rule import Updates

WIDTHS = {"layers.0.q": (6, 5), "layers.1.v": (4, 7)}
"""d_in and d_out by layer."""


def adapter(seed: int, rank: int = 2) -> Adapter:
    generator = torch.Generator().manual_seed(seed)
    tensors = {"head.bias": torch.randn(3, generator=generator)}
    for layer, (d_in, d_out) in WIDTHS.items():
        tensors[f"{layer}.lora_A.weight"] = torch.randn(rank, d_in, generator=generator)
        tensors[f"{layer}.lora_B.weight"] = torch.randn(d_out, rank, generator=generator)
    return tensors


def product(tensors: Adapter, layer: str) -> Tensor:
    return tensors[f"{layer}.lora_B.weight"].double() @ tensors[f"{layer}.lora_A.weight"].double()


def refactored(tensors: Adapter, seed: int = 99) -> Adapter:
    """The same products from other factors: B R and R^-1 A."""
    generator = torch.Generator().manual_seed(seed)
    result = {name: tensor.double() for name, tensor in tensors.items()}
    for layer in WIDTHS:
        a, b = f"{layer}.lora_A.weight", f"{layer}.lora_B.weight"
        turn = torch.randn(len(result[a]), len(result[a]), generator=generator, dtype=torch.float64)
        turn += 3 * torch.eye(len(turn))
        result[a], result[b] = torch.linalg.solve(turn, result[a]), result[b] @ turn
    return result


def updates(adapters: list[Adapter], origin: Adapter | None = None, **given: Tensor) -> Updates:
    n = len(adapters)
    origin = adapter(1000) if origin is None else origin
    numbers = {"losses": torch.ones(n), "sizes": torch.ones(n), "heats": torch.ones(n)} | given
    clients = tuple(f"client-{place}" for place in range(n))
    return Updates(clients=clients, adapters=adapters, start=[origin] * n, origin=origin, **numbers)


def random_matrix(n: int, seed: int) -> Tensor:
    shares = torch.rand(n, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.01
    return shares / shares.sum(dim=1, keepdim=True)


def equal(one: Adapter, other: Adapter) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
