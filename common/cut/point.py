"""Where a model is cut: k layers below, m layers above, and the two sides this makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from transformers import PreTrainedConfig

from common.cut.families import family_of
from common.errors import ModelError

Side = Literal["client", "server"]


@dataclass(frozen=True)
class Cut:
    """The client keeps the embeddings, layers ``0 .. k-1``, the last ``m`` layers, the final norm and the head or
    pooler; the server hosts the layers between (FELLRec, arXiv 2402.09959, fixes m = 1).
    """

    k: int
    m: int

    def check(self, config: PreTrainedConfig) -> None:
        """Refuses a cut that this model does not have: the server must host at least one layer.

        Raises
        ------
        ModelError : k or m is negative or no integer, they leave no layer, or the architecture is unknown.
        """
        family_of(config)
        layers = config.num_hidden_layers
        for name, value in (("k", self.k), ("m", self.m)):
            if type(value) is not int:
                raise ModelError(f"cut {name}={value!r} is not an integer", f"the model has {layers} layers")
        if self.k < 0 or self.m < 0 or self.k + self.m > layers - 1:
            m = min(max(self.m, 0), layers - 1)
            k = min(max(self.k, 0), layers - 1 - m)
            raise ModelError(
                f"cut k={self.k!r}, m={self.m!r} is impossible for a model of {layers} layers: k and m must be 0 or"
                " more and leave the server at least one layer",
                f"the nearest cut is k={k}, m={m}",
            )

    def middle(self, layers: int) -> range:
        """Indices of the hosted layers in a model of ``layers`` layers."""
        return range(self.k, layers - self.m)
