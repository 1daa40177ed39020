"""Means that a few hostile clients cannot move far: the coordinate-wise median, and the trimmed mean (Yin et al., 2018).

Both choose anew for each number, so they are no matrix over clients. They hold for the shared scope: all begin the round from one
adapter, whose factors therefore match from client to client.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from common.errors import ConfigError
from common.low_rank import Adapter, Merge
from server_app.aggregation.adapter import side_by_side
from server_app.aggregation.rule import Updates, named


@named("median")
@dataclass(frozen=True)
class Median:
    """The middle value of each number over the clients, of an even number of clients the mean of the middle two.

    Clients count alike, whatever their sizes. Right as long as fewer than half of them are hostile.
    """

    merge: Merge = "factors"

    def adapter(self, updates: Updates) -> Adapter:
        n = len(updates.clients)
        return _middle(updates, (n - 1) // 2)


@named("trimmed-mean")
@dataclass(frozen=True)
class TrimmedMean:
    """The mean of each number without its ``hostile`` largest and its ``hostile`` smallest values.

    Clients count alike, whatever their sizes. With too few clients to trim as many, it is the median.
    """

    hostile: int = 1
    merge: Merge = "factors"

    def __post_init__(self) -> None:
        if self.hostile < 1:
            raise ConfigError(f"'robust.hostile' = {self.hostile!r}", "choose 1 or more, or the strategy 'fedavg'")

    def adapter(self, updates: Updates) -> Adapter:
        n = len(updates.clients)
        return _middle(updates, min(self.hostile, (n - 1) // 2))


def _middle(updates: Updates, trimmed: int) -> Adapter:
    """The mean over clients of each number's sorted values without ``trimmed`` at either end."""
    kept = slice(trimmed, len(updates.clients) - trimmed)
    return _by_number(updates, lambda block: block.sort(dim=0).values[kept].mean(dim=0))


def _by_number(updates: Updates, mean: Callable[[Tensor], Tensor]) -> Adapter:
    """A function of float64 blocks [n, numbers] applied to every tensor of the clients' adapters."""
    found: Adapter = {}
    for name, like in updates.adapters[0].items():
        target = torch.empty_like(like, memory_format=torch.contiguous_format)
        for columns, block in side_by_side([adapter[name] for adapter in updates.adapters]):
            target.view(-1)[columns] = mean(block).to(target.dtype)
        found[name] = target
    return found
