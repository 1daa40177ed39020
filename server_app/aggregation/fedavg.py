"""FedAvg: one mean for all (McMahan et al., arXiv 1602.05629)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from common.low_rank import Merge
from server_app.aggregation.mixing import normalise
from server_app.aggregation.rule import Updates, named


@named("fedavg")
@dataclass(frozen=True)
class FedAvg:
    """The mean weighted by the clients' training examples."""

    merge: Merge = "factors"

    def weights(self, updates: Updates) -> Tensor:
        return normalise(updates.sizes.double().expand(len(updates.clients), -1))


@named("fedavg-uniform")
@dataclass(frozen=True)
class FedAvgUniform:
    """The plain mean: FELLRec with all similarities and heats 1."""

    merge: Merge = "factors"

    def weights(self, updates: Updates) -> Tensor:
        n = len(updates.clients)
        return normalise(torch.ones(n, n))
