"""Multi-Krum: the mean of the clients whose updates lie nearest to one another (Blanchard et al., 2017)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from common.errors import ConfigError
from common.low_rank import Merge
from server_app.aggregation.adapter import side_by_side
from server_app.aggregation.mixing import normalise
from server_app.aggregation.rule import Updates, named


@named("krum")
@dataclass(frozen=True)
class Krum:
    """The plain mean of the n - ``hostile`` clients of the lowest scores.

    A client's score is the sum of the squared distances to its n - ``hostile`` - 2 nearest others, at least one of them.
    Published for n > 2 hostile + 2; with fewer clients it still leaves ``hostile`` of them out, as long as two remain.
    """

    hostile: int = 1
    merge: Merge = "factors"

    def __post_init__(self) -> None:
        if self.hostile < 1:
            raise ConfigError(f"'robust.hostile' = {self.hostile!r}", "choose 1 or more, or the strategy 'fedavg'")

    def weights(self, updates: Updates) -> Tensor:
        n = len(updates.clients)
        chosen = torch.zeros(n)
        chosen[self._order(updates)[: max(min(n, 2), n - self.hostile)]] = 1.0
        return normalise(chosen.expand(n, -1))

    def _order(self, updates: Updates) -> list[int]:
        """The clients' places by their scores; of equal ones (two that are each other's nearest) the nearer to everybody."""
        distances = _squared_distances(updates)
        near = max(1, len(distances) - self.hostile - 2)
        # the first of a row is its distance to itself
        scores = distances.sort(dim=1).values[:, 1 : 1 + near].sum(dim=1).tolist()
        return sorted(range(len(scores)), key=lambda place: (scores[place], float(distances[place].sum())))


def _squared_distances(updates: Updates) -> Tensor:
    """|P_i - P_j|^2, float64 [n, n], from differences, since a Gram matrix would lose small ones beside large adapters."""
    n = len(updates.clients)
    found = torch.zeros(n, n, dtype=torch.float64)
    for name in updates.adapters[0]:
        for _, block in side_by_side([adapter[name] for adapter in updates.adapters]):
            for place in range(n):
                found[place] += (block - block[place]).square().sum(dim=1)
    return found.fill_diagonal_(0.0)
