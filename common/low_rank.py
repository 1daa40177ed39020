"""LoRA pairs in a flat dictionary of tensors, and mixtures of their products.

A pair (A [r, d_in], B [d_out, r]) stands for the matrix BA, and many pairs stand for the same one: (RA, BR^-1) for
every invertible R. Averaging A with A and B with B is therefore not averaging the matrices, and means nothing between
pairs that were factored differently. A :class:`ProductMixer` mixes the matrices themselves without ever forming one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from common.errors import MessageError

Adapter = dict[str, Tensor]
"""An adapter's tensors by name, as PEFT names them."""

Merge = Literal["factors", "product"]
"""How adapters are mixed: A with A and B with B, or BA with BA."""

_LORA_NAME = re.compile(
    r"^(?:(?P<layer>.+)\.)?lora_(?P<embedding>embedding_)?(?P<factor>[AB])"
    r"(?:\.(?!weight$)(?P<adapter>[^.]+))?(?P<weight>\.weight)?$"
)


@dataclass(frozen=True)
class Pair:
    """The names of one layer's two factors: ``a`` [r, d_in] and ``b`` [d_out, r]."""

    layer: str
    a: str
    b: str


def mean_adapter(adapters: Sequence[Adapter]) -> Adapter:
    """The plain mean of adapters of one form, tensor by tensor in float64, in their own dtypes."""
    if len(adapters) == 1:
        return dict(adapters[0])
    return {
        name: torch.stack([adapter[name].double() for adapter in adapters]).mean(dim=0).to(tensor.dtype)
        for name, tensor in adapters[0].items()
    }


def pairs(adapter: Mapping[str, Tensor]) -> list[Pair]:
    """The LoRA pairs of an adapter, by layer name.

    Both of PEFT's namings count (``q.lora_A.weight`` and ``q.lora_A.default.weight``), for linear layers and for
    embeddings (``lora_embedding_A``). Everything else is a plain tensor, see :func:`plain_names`.

    Raises
    ------
    MessageError : a factor without its partner, one that is not a matrix, or two that do not multiply.
    """
    factors: dict[str, dict[str, str]] = {}
    for name in adapter:
        found = _lora_name(name)
        if found:
            own = found["adapter"] not in (None, "default")
            layer = f"{found['layer'] or ''}:{found['adapter']}" if own else found["layer"] or ""
            factors.setdefault(layer, {})[found["factor"]] = name
    result = []
    for layer, named in sorted(factors.items()):
        if len(named) != 2:
            raise MessageError(
                f"LoRA factor {next(iter(named.values()))!r} has no partner",
                "send lora_A and lora_B of a layer together",
            )
        a, b = adapter[named["A"]], adapter[named["B"]]
        if a.ndim != 2 or b.ndim != 2 or a.shape[0] != b.shape[1]:
            raise MessageError(
                f"LoRA factors of {layer!r} do not multiply: A {tuple(a.shape)!r}, B {tuple(b.shape)!r}",
                "A is [rank, d_in] and B is [d_out, rank]",
            )
        result.append(Pair(layer, named["A"], named["B"]))
    return result


def plain_names(adapter: Mapping[str, Tensor]) -> list[str]:
    """The names of the tensors that are no LoRA factor, sorted."""
    return sorted(name for name in adapter if not _lora_name(name))


def _lora_name(name: str) -> re.Match[str] | None:
    """The parts of a LoRA factor's name; only a linear layer's ends in ``.weight``."""
    found = _LORA_NAME.match(name)
    return found if found and bool(found["embedding"]) != bool(found["weight"]) else None


@dataclass(frozen=True)
class MixedPair:
    """A mixed pair in float64, and the share of the mixture's energy (squared Frobenius norm) that its rank lost."""

    a: Tensor
    b: Tensor
    discarded: float


class ProductMixer:
    """Mixtures of one layer's products, sum_j weight_j B_j A_j, at a chosen rank.

    The factors of all senders are stacked and reduced by QR once; each mixture then costs one SVD of an R x R core,
    with R the sum of the senders' ranks. By Eckart and Young the result is the best approximation of its rank.

    Where ranks differ, slice p of the products (their p-th singular component) is weighted among the senders that have
    a p-th slice only; otherwise those without one would act as zeros and pull every mixture towards the smallest rank
    (rank collapse, arXiv 2602.13486).

    Parameters
    ----------
    factors : per sender, A [r_j, d_in] and B [d_out, r_j]; B carries the sender's LoRA scale (alpha / r).
    """

    def __init__(self, factors: Sequence[tuple[Tensor, Tensor]]) -> None:
        self._ranks = [a.shape[0] for a, _ in factors]
        factors = [(a.double(), b.double()) for a, b in factors]
        if len(set(self._ranks)) > 1:
            factors = [_by_singular_value(a, b) for a, b in factors]
        self._out, self._core_out = torch.linalg.qr(torch.cat([b for _, b in factors], dim=1))
        self._in, self._core_in = torch.linalg.qr(torch.cat([a for a, _ in factors], dim=0).T)

    def mix(self, weights: Tensor, like: Tensor) -> MixedPair:
        """The mixture for one receiver, at the rank of its own factor A (``like`` [r, d_in]).

        Of all the pairs with this product it is the one whose A has orthogonal rows of equal length, the norm of
        ``like``, and lies closest to ``like`` (orthogonal Procrustes): training goes on at the same pace, and an
        optimiser's moments still fit. Directions that the mixture leaves unused keep the receiver's own rows of A with
        zeros in B, so that no rank is lost for good; a mixture that is zero gives ``like`` and zeros.
        """
        like = like.double()
        columns = self._slice_weights(weights.double())
        u, s, vt = torch.linalg.svd((self._core_out * columns) @ self._core_in.T, full_matrices=False)
        if not s[0] > 0:
            return MixedPair(like.clone(), self._out.new_zeros(self._out.shape[0], like.shape[0]), 0.0)
        used = int((s > s[0] * torch.finfo(s.dtype).eps * max(self._out.shape[0], self._in.shape[0])).sum())
        kept = min(like.shape[0], used)
        v = self._in @ vt[:kept].T
        basis = torch.linalg.qr(torch.cat([v, like.T], dim=1)).Q[:, : like.shape[0]]
        basis[:, :kept] = v
        left, _, right = torch.linalg.svd(like @ basis, full_matrices=False)
        turn = left @ right
        length = float(like.norm()) / basis.shape[1] ** 0.5 or 1.0
        b = (self._out @ u[:, :kept] * s[:kept]) @ turn[:, :kept].T / length
        energy = s.square()
        return MixedPair(length * turn @ basis.T, b, float(energy[kept:].sum() / energy.sum()))

    def _slice_weights(self, weights: Tensor) -> Tensor:
        """The weight of each of the R stacked slices: weights [n] -> [R]."""
        if len(set(self._ranks)) == 1:
            return weights.repeat_interleave(self._ranks[0])
        ranks = torch.tensor(self._ranks, device=weights.device)
        has = torch.arange(max(self._ranks), device=weights.device) < ranks[:, None]
        covered = (weights[:, None] * has).sum(dim=0)
        shares = torch.where(covered > 0, weights[:, None] / covered, 0.0)
        return shares[has] * weights.sum()


def _by_singular_value(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """The same product with its slices in the order of its singular values, those past its rank zero."""
    q_out, r_out = torch.linalg.qr(b)
    q_in, r_in = torch.linalg.qr(a.T)
    u, s, vt = torch.linalg.svd(r_out @ r_in.T, full_matrices=False)
    ordered_a, ordered_b = torch.zeros_like(a), torch.zeros_like(b)
    ordered_a[: len(s)] = vt @ q_in.T
    ordered_b[:, : len(s)] = q_out @ u * s
    return ordered_a, ordered_b
