"""Mixing adapters by a mixing matrix: factor by factor, or in product space.

The two do not go together. A product merge factors its result anew, so that one client's A no longer matches
another's (nor its own of the round before): averaging factors from then on destroys the model. A run keeps to one merge
from its first round to its last, for averages over rounds and a client's own share too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from common.errors import ConfigError, MessageError
from common.low_rank import Adapter, Merge, Pair, ProductMixer, pairs, plain_names
from server_app.aggregation.adapter import check_names, check_shapes, places, side_by_side
from server_app.aggregation.mixing import check_mixing_matrix


@dataclass(frozen=True)
class Merged:
    """The receivers' new adapters, in their order.

    ``discarded`` gives per receiver, by layer, the share of the mixed product's energy (squared Frobenius norm) that
    did not fit the receiver's rank; empty for a factor-wise merge.
    """

    adapters: list[Adapter]
    discarded: list[dict[str, float]] = field(default_factory=list)


def merge(
    how: Merge,
    adapters: Sequence[Adapter],
    weights: Tensor,
    scales: Sequence[float] | None = None,
    clients: Sequence[str] | None = None,
    receivers: Sequence[int] | None = None,
) -> Merged:
    """The receivers' mixtures by the named merge; see :func:`merge_factors` and :func:`merge_products`."""
    if how == "factors":
        return Merged(merge_factors(adapters, weights, clients, receivers))
    if how == "product":
        return merge_products(adapters, weights, scales, clients, receivers)
    raise ConfigError(f"merge is {how!r}", "choose 'factors' or 'product'")


def merge_factors(
    adapters: Sequence[Adapter],
    weights: Tensor,
    clients: Sequence[str] | None = None,
    receivers: Sequence[int] | None = None,
) -> list[Adapter]:
    """P_i <- sum_j W_ij P_j, tensor by tensor, for all receivers at once from what was sent.

    Parameters
    ----------
    adapters : what the n clients sent: same names, same shapes.
    weights : the mixing matrix, [receivers, n].
    clients : their keys, for error messages; by default their places in the order.
    receivers : places of the clients that the rows are for; by default all.

    Returns
    -------
    New tensors in the senders' dtypes, accumulated in float64; identical senders stay exactly as they are in fp32.

    Raises
    ------
    MessageError : a name or shape that differs, naming client and tensor.
    RunError : ``weights`` is no mixing matrix over these clients.
    """
    chosen = range(len(adapters)) if receivers is None else receivers
    clients = _check(adapters, weights, clients, len(chosen))
    names = sorted(adapters[0])
    check_shapes(adapters, names, clients)
    return _mix_tensors(adapters, weights, names)


def merge_products(
    adapters: Sequence[Adapter],
    weights: Tensor,
    scales: Sequence[float] | None = None,
    clients: Sequence[str] | None = None,
    receivers: Sequence[int] | None = None,
) -> Merged:
    """The best approximation of sum_j W_ij s_j B_j A_j at each receiver's own rank, over its own scale s_i.

    Plain tensors are mixed as they are. A receiver that takes nothing from the others keeps its factors bit by bit. For
    the rest see :class:`common.low_rank.ProductMixer`: per layer one QR of all senders' factors and one SVD of an R x R
    core for each receiver, R being the sum of the ranks; no d_out x d_in matrix. The cores of n clients of rank r cost
    O(n^4 r^3): meant for tens of clients a round.

    Parameters
    ----------
    adapters : what the n clients sent: same names; shapes may differ in the rank of LoRA pairs.
    weights : the mixing matrix, [receivers, n].
    scales : each client's LoRA scale (alpha / r), positive; by default 1. Only their ratios matter.
    clients : their keys, for error messages; by default their places in the order.
    receivers : places of the clients that the rows are for; by default all.

    Raises
    ------
    MessageError : a name or shape that differs, or a scale that is not positive, naming the client.
    RunError : ``weights`` is no mixing matrix over these clients.
    """
    chosen = range(len(adapters)) if receivers is None else receivers
    clients = _check(adapters, weights, clients, len(chosen))
    scales = [1.0] * len(adapters) if scales is None else list(scales)
    if len(scales) != len(adapters) or not all(0.0 < scale < float("inf") for scale in scales):
        raise MessageError(
            f"LoRA scales of clients {clients!r} are {scales!r}", "alpha / r is positive for each client"
        )
    layers = _common_layers(adapters, clients)
    plain = plain_names(adapters[0])
    check_shapes(adapters, plain, clients)
    merged = _mix_tensors(adapters, weights, plain)
    discarded: list[dict[str, float]] = [{} for _ in chosen]
    for pair in layers:
        mixer = ProductMixer(
            [
                (adapter[pair.a], adapter[pair.b].double() * scale)
                for adapter, scale in zip(adapters, scales, strict=True)
            ]
        )
        for i, place in enumerate(chosen):
            own = adapters[place]
            if weights[i, place] == 1.0:
                merged[i][pair.a], merged[i][pair.b] = own[pair.a].clone(), own[pair.b].clone()
                discarded[i][pair.layer] = 0.0
                continue
            mixed = mixer.mix(weights[i].to(own[pair.a].device), own[pair.a])
            merged[i][pair.a] = mixed.a.to(own[pair.a].dtype)
            merged[i][pair.b] = (mixed.b / scales[place]).to(own[pair.b].dtype)
            discarded[i][pair.layer] = mixed.discarded
    return Merged(merged, discarded)


def _check(
    adapters: Sequence[Adapter], weights: Tensor, clients: Sequence[str] | None, receivers: int
) -> Sequence[str]:
    clients = places(adapters) if clients is None else clients
    check_mixing_matrix(weights, len(adapters), receivers)
    check_names(adapters, [f"client {client!r}" for client in clients])
    return clients


def _common_layers(adapters: Sequence[Adapter], clients: Sequence[str]) -> list[Pair]:
    """The LoRA pairs, refused where a layer's widths differ; its ranks may."""
    layers, *_ = [pairs(adapter) for adapter in adapters]
    for pair in layers:
        widths = [(adapter[pair.a].shape[1], adapter[pair.b].shape[0]) for adapter in adapters]
        for client, width in zip(clients, widths, strict=True):
            if width != widths[0]:
                raise MessageError(
                    f"LoRA pair {pair.a!r} of client {client!r} has (d_in, d_out) {width!r}, not {widths[0]!r}",
                    "clients of one round share the backbone; only ranks may differ",
                )
    return layers


def _mix_tensors(adapters: Sequence[Adapter], weights: Tensor, names: Sequence[str]) -> list[Adapter]:
    merged: list[Adapter] = [{} for _ in weights]
    for name in names:
        tensors = [adapter[name] for adapter in adapters]
        targets = [torch.empty_like(tensors[0], memory_format=torch.contiguous_format) for _ in merged]
        for columns, block in side_by_side(tensors):
            for target, mixed in zip(targets, weights.to(block) @ block, strict=True):
                target.view(-1)[columns] = mixed.to(target.dtype)
        for adapter, target in zip(merged, targets, strict=True):
            adapter[name] = target
    return merged
