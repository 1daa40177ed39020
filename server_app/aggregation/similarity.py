"""How alike the clients of a round are: cosines between what they sent, float64 [n, n].

All accumulate Gram matrices tensor by tensor in float64. A zero vector has cosine 0 with every other and 1 with
itself. None forms a layer's d_out x d_in matrix.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from common.errors import ConfigError
from common.low_rank import Adapter, pairs, plain_names
from server_app.aggregation.adapter import check_shapes, places, side_by_side


def raw_cosine(adapters: Sequence[Adapter]) -> Tensor:
    """Cosine of all tensors, flattened and joined (FELLRec, arXiv 2402.09959).

    Where all clients began from one A it is nearly 1 for everybody and tells little.
    """
    names = sorted(adapters[0])
    check_shapes(adapters, names, places(adapters))
    return _cosine(_gram([adapter[name] for adapter in adapters] for name in names))


def update_cosine(adapters: Sequence[Adapter], origins: Sequence[Adapter]) -> Tensor:
    """Cosine of what each client changed, adapter minus origin, flattened and joined."""
    names = sorted(adapters[0])
    check_shapes([*adapters, *origins], names, places([*adapters, *origins]))
    return _cosine(_gram(_changes(adapters, origins, name) for name in names))


def product_cosine(adapters: Sequence[Adapter], origin: Adapter | None = None) -> Tensor:
    """Cosine of the products BA of all LoRA pairs; the same however a client has factored them.

    <B_i A_i, B_j A_j>_F = sum((B_i^T B_j) * (A_i A_j^T)), from r x r matrices only; ranks may differ. Plain tensors
    enter as they are. With an origin it is the cosine of the changes, B_i A_i - B_0 A_0.
    """
    plain = plain_names(adapters[0])
    check_shapes(adapters, plain, places(adapters))
    if origin is None:
        gram = _gram([adapter[name] for adapter in adapters] for name in plain)
    else:
        gram = _gram(_changes(adapters, [origin] * len(adapters), name) for name in plain)
    for pair in pairs(adapters[0]):
        factors = [(adapter[pair.a].double(), adapter[pair.b].double()) for adapter in adapters]
        if origin is not None:
            first = origin[pair.a].double(), origin[pair.b].double()
            factors = [_minus(factor, first) for factor in factors]
        gram = gram + _product_gram(factors)
    return _cosine(gram)


def shift(cosines: Tensor) -> Tensor:
    """(cos + 1) / 2: from [-1, 1] to [0, 1]."""
    return (cosines + 1.0) / 2.0


def sharpen(similarities: Tensor, temperature: float) -> Tensor:
    """s^(1 / temperature): below 1 it widens the gap between alike and unlike clients, above 1 it narrows it.

    Keeps [0, 1], and the ones on the diagonal. Unlike a softmax it leaves equally similar clients with FedAvg.

    Raises
    ------
    ConfigError : a temperature that is not positive.
    """
    if not 0.0 < temperature < float("inf"):
        raise ConfigError(f"similarity temperature is {temperature!r}", "choose a positive number; 1 changes nothing")
    return similarities ** (1.0 / temperature)


def _changes(adapters: Sequence[Adapter], origins: Sequence[Adapter], name: str) -> list[Tensor]:
    return [adapter[name].double() - origin[name].double() for adapter, origin in zip(adapters, origins, strict=True)]


def _gram(tensors: Iterable[Sequence[Tensor]]) -> Tensor:
    """Inner products between the clients, summed over tensors; one zero, to add to, where there are none."""
    gram = torch.zeros(1, 1, dtype=torch.float64)
    for of_all in tensors:
        for _, block in side_by_side(of_all):
            gram = gram + block @ block.T
    return gram


def _minus(factor: tuple[Tensor, Tensor], origin: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """A pair whose product is BA - B_0 A_0, without cancellation where the ranks agree."""
    (a, b), (a0, b0) = factor, origin
    if a.shape == a0.shape:
        return torch.cat([a, a - a0]), torch.cat([b - b0, b0], dim=1)
    return torch.cat([a, a0]), torch.cat([b, -b0], dim=1)


def _product_gram(factors: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """<B_i A_i, B_j A_j>_F for all i and j."""
    a, b = torch.cat([a for a, _ in factors]), torch.cat([b for _, b in factors], dim=1)
    owner = torch.repeat_interleave(torch.tensor([a.shape[0] for a, _ in factors], device=a.device))
    mine = torch.nn.functional.one_hot(owner, len(factors)).to(a)
    return mine.T @ ((b.T @ b) * (a @ a.T)) @ mine


def _cosine(gram: Tensor) -> Tensor:
    norms = gram.diagonal().clamp(min=0.0).sqrt()
    lengths = norms[:, None] * norms
    cosines = torch.where(lengths > 0.0, gram / lengths, 0.0).clamp(-1.0, 1.0)
    return cosines.fill_diagonal_(1.0)
