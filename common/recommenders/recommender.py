"""What every recommender is to the rest of the house: text in, loss and scores out.

A client trains one, ranks its catalogue by it and recommends with it; which kind it is, only
``common.recommenders.build`` asks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedTokenizerBase

from common.errors import ConfigError
from common.recommenders.encoder.projection import Identity, Projection

Items = Sequence[int] | NDArray[np.integer]
"""Items of one user by their places in the catalogue; a history is oldest first."""

K = TypeVar("K")


class HasItems(Protocol):
    """What is asked of a catalogue: the attributes of each item, in order."""

    @property
    def items(self) -> Sequence[Mapping[str, str]]: ...


class Index(Protocol):
    """A catalogue as a recommender reads it, made once: its items' tokens."""

    @property
    def digest(self) -> str:
        """Of everything in it, hex."""

    def __len__(self) -> int: ...


class Recommender(nn.Module, ABC):
    """A backbone with a way to read histories and to rank a catalogue.

    Attributes
    ----------
    backbone : nn.Module
        The language model, plain, with adapters, or with layers elsewhere.
    projection : Projection or Identity
        What is trained above it.
    tokenizer : PreTrainedTokenizerBase
        The backbone's own.
    items_are_trained : bool
        Whether item vectors are made by what is trained, and so move with it; else by the base model.
    """

    backbone: nn.Module
    projection: Projection | Identity
    tokenizer: PreTrainedTokenizerBase

    @property
    @abstractmethod
    def items_are_trained(self) -> bool: ...

    @abstractmethod
    def catalogue_index(self, catalogue: HasItems) -> Index:
        """The tokens of a catalogue's items."""

    @abstractmethod
    def encode_items(self, index: Index, batch: int = 64) -> Tensor:
        """The item matrix [n_items, H], without gradient; ``batch`` items are read at a time."""

    @abstractmethod
    def loss(self, histories: Sequence[Items], targets: Items, index: Index, items: Tensor | None) -> Tensor:
        """The mean training loss, a scalar; histories are item indices, oldest first, ``targets`` [B] are items."""

    @abstractmethod
    def scores(self, histories: Sequence[Items], index: Index, items: Tensor | None) -> Tensor:
        """Scores [B, n_items] of the whole catalogue; -inf for what the recommender does not reach."""

    @abstractmethod
    def log_likelihoods(
        self,
        histories: Sequence[Items],
        targets: Sequence[Items],
        index: Index,
        items: Tensor | None,
        scores: Tensor | None = None,
    ) -> NDArray[np.float64]:
        """Per user the mean over its targets of ln p(target | history), float64 [B].

        ``scores``, where the caller has them already, may spare a pass.
        """


def own_index(index: Index, kind: type[K]) -> K:
    """The index, as the kind of recommender that reads it made it.

    Raises
    ------
    ConfigError : it is another kind's.
    """
    if not isinstance(index, kind):
        raise ConfigError(
            f"index is of type {type(index).__name__!r}, but this recommender reads {kind.__name__!r}",
            "pass its own catalogue_index(catalogue)",
        )
    return index


def flops_per_step(
    recommender: Recommender,
    histories: Sequence[Items],
    targets: Items,
    index: Index,
    items: Tensor | None,
) -> int:
    """Floating-point operations of one training step, forward and backward, on this batch; gradients are dropped.

    Measured by torch, which counts matrix products and convolutions: two operations per multiply-add.
    """
    # the fused CPU attention kernel is unknown to the counter, its parts are not
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH), torch.enable_grad():
        recommender.loss(histories, targets, index, items).backward()
    recommender.zero_grad(set_to_none=True)
    return int(counter.get_total_flops())
