"""FELLRec: each client takes from the others by how alike they are and by how warm it is (arXiv 2402.09959)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from common.errors import ConfigError
from common.low_rank import Merge
from server_app.aggregation.mixing import mixing_matrix
from server_app.aggregation.rule import Updates, named
from server_app.aggregation.similarity import product_cosine, raw_cosine, sharpen, shift, update_cosine

Similarity = Literal["raw", "update", "round", "product"]


@named("fellrec")
@dataclass(frozen=True)
class Fellrec:
    """One personalised adapter per client.

    Attributes
    ----------
    attention : whether similarities count at all; without them only the heats shape the rows.
    similarity : of the adapters as sent ("raw"), of their change since the run's origin ("update") or since the round's
        start ("round"), or of the change of their products BA since the origin ("product").
    temperature : sharpens the similarities below 1; 1 leaves them as published.
    merge : "product" mixes BA, "factors" mixes A and B apart.
    """

    attention: bool = True
    similarity: Similarity = "update"
    temperature: float = 1.0
    merge: Merge = "factors"

    def __post_init__(self) -> None:
        if self.similarity not in get_args(Similarity):
            raise ConfigError(f"similarity is {self.similarity!r}", f"choose one of {get_args(Similarity)!r}")
        if self.merge not in get_args(Merge):
            raise ConfigError(f"merge is {self.merge!r}", f"choose one of {get_args(Merge)!r}")
        if not 0.0 < self.temperature < float("inf"):
            raise ConfigError(f"temperature is {self.temperature!r}", "choose a positive number; 1 changes nothing")

    def weights(self, updates: Updates) -> Tensor:
        n = len(updates.clients)
        if not self.attention:
            return mixing_matrix(torch.ones(n, n), updates.heats)
        return mixing_matrix(sharpen(shift(self._cosines(updates)), self.temperature), updates.heats)

    def _cosines(self, updates: Updates) -> Tensor:
        if self.similarity == "raw":
            return raw_cosine(updates.adapters)
        if self.similarity == "update":
            return update_cosine(updates.adapters, [updates.origin] * len(updates.clients))
        if self.similarity == "round":
            return update_cosine(updates.adapters, updates.start)
        return product_cosine(updates.adapters, updates.origin)


@named("fellrec-paper")
@dataclass(frozen=True)
class FellrecPaper(Fellrec):
    """FELLRec as published: cosine of the raw parameters, A and B averaged apart."""

    similarity: Similarity = "raw"
