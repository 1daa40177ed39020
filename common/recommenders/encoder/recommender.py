"""The encoder recommender (RecFormer, arXiv 2305.13731): users and items are texts, read by the same encoder.

Score: the cosine of user and item, divided by a temperature. Loss: softmax cross entropy over a client's whole
catalogue, but for the items of the history. Item vectors carry no gradient: they are encoded anew where a stage asks
for it (stage 1: before every local epoch) and kept where it does not (stage 2). Nothing that is trained is indexed by
item.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from common.cut.families import reads_back_only
from common.errors import ConfigError
from common.models import Pooled, config_of, declared_pooling
from common.recommenders.encoder.embeddings import ItemStructure, token_codes
from common.recommenders.encoder.projection import Identity, Projection
from common.recommenders.encoder.text import ItemTexts, Sequences, compose, special_tokens, tokenise_items
from common.recommenders.recommender import HasItems, Index, Items, Recommender, own_index
from common.recommenders.vocabulary import check_ids, check_vocabulary

Pooling = Literal["auto", "mean", "first"]


@dataclass(frozen=True)
class EncoderSettings:
    """How texts become vectors.

    Parameters
    ----------
    history : int
        Items of a user that are read, at most, the newest.
    max_tokens : int
        Tokens of a user's sequence, at most.
    item_tokens : int
        Tokens of one item's text, at most.
    temperature : float
        Divisor of the cosine.
    pooling : str
        ``mean`` over the tokens, ``first`` token, or ``auto``, what the model's folder declares, else ``first`` for
        Longformer and ``mean`` for the others.
    recency : float
        Weight of an item's tokens in the mean, relative to the next newer item's: 1 counts all tokens alike.
    projection : bool
        Whether the pooled vectors are turned by trained matrices (``common.recommenders.encoder.projection``).
    """

    history: int = 10
    max_tokens: int = 128
    item_tokens: int = 32
    temperature: float = 0.05
    pooling: Pooling = "auto"
    recency: float = 1.0
    projection: bool = False

    def __post_init__(self) -> None:
        for name in ("history", "item_tokens"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)!r}", "it must be 1 or more")
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise ConfigError(f"temperature is {self.temperature!r}", "it must be a positive number")
        if self.pooling not in ("auto", "mean", "first"):
            raise ConfigError(f"pooling is {self.pooling!r}", "choose 'auto', 'mean' or 'first'")
        if not 0 < self.recency <= 1:
            raise ConfigError(f"recency is {self.recency!r}", "it must be above 0 and at most 1")


class EncoderRecommender(Recommender):
    """Users and items as vectors of one encoder.

    Parameters
    ----------
    backbone : nn.Module
        An encoder, plain, with adapters, or with layers elsewhere: anything that takes ``input_ids`` and
        ``attention_mask`` and returns ``last_hidden_state`` [B, L, H].
    tokenizer : PreTrainedTokenizerBase
        The backbone's own.
    settings : EncoderSettings
        How texts become vectors.

    Raises
    ------
    ConfigError : ``max_tokens`` leaves no room for an item, or is more than the backbone reads; or ``first`` is the
        pooling of a causal model, whose first token has read nothing, or is to be weighed by recency.
    ModelError : the tokenizer is another model's, or the folder declares a pooling that is not known.
    """

    items_are_trained = True

    def __init__(self, backbone: nn.Module, tokenizer: PreTrainedTokenizerBase, settings: EncoderSettings) -> None:
        super().__init__()
        self.backbone = backbone
        config = config_of(backbone)
        self.projection = Projection(config.hidden_size) if settings.projection else Identity()
        self.tokenizer = tokenizer
        self.settings = settings
        self.special = special_tokens(tokenizer)
        self.pooling = _pooling(settings.pooling, config)
        if self.pooling == "first" and settings.recency < 1:
            raise ConfigError(
                f"'model.recency' = {settings.recency!r} weighs a mean, but this model is pooled by its first token",
                "set 'model.recency' to 1.0, or 'model.pooling' to 'mean'",
            )
        self._global_first = config.model_type == "longformer"
        self._structured = any(isinstance(module, ItemStructure) for module in backbone.modules())
        self._check_room(config)
        check_vocabulary(tokenizer, config, (*self.special.before, *self.special.after, self.special.pad))

    def catalogue_index(self, catalogue: HasItems) -> ItemTexts:
        """The tokens of a catalogue's items, made once.

        Raises
        ------
        DataError : an item has no text.
        ModelError : a text holds a token that the model does not know.
        """
        texts = tokenise_items(catalogue.items, self.tokenizer, self.settings.item_tokens)
        check_ids(texts.tokens, self.tokenizer, config_of(self.backbone))
        return texts

    @torch.no_grad()
    def encode_items(self, index: Index, batch: int = 64) -> Tensor:
        """The item matrix float32 [n_items, H], rows of length 1, before the projection; without gradient and dropout.

        Items of like length are read together, ``batch`` at a time.
        """
        texts = own_index(index, ItemTexts)
        order = torch.from_numpy(texts.lengths).argsort(stable=True)
        training = self.training
        self.eval()
        try:
            matrix = torch.cat([self.encode_users(chunk.unsqueeze(1).tolist(), texts) for chunk in order.split(batch)])
        finally:
            self.train(training)
        return torch.empty_like(matrix).index_copy_(0, order.to(matrix.device), matrix)

    def encode_users(self, histories: Sequence[Items], index: Index) -> Tensor:
        """User vectors float32 [B, H], rows of length 1, before the projection; histories are item indices, oldest first."""
        texts = own_index(index, ItemTexts)
        batch = compose(histories, texts, self.special, self.settings.history, self.settings.max_tokens)
        device = next(self.backbone.parameters()).device
        return self._encode(Sequences(*(tensor.to(device) for tensor in batch)))

    def scores(self, histories: Sequence[Items], index: Index, items: Tensor | None) -> Tensor:
        """Cosine / temperature of every user with every item, float32 [B, n_items]."""
        if items is None:
            raise ConfigError("items is None, but cosines need the item matrix", "pass encode_items(index)")
        users = self.projection.users(self.encode_users(histories, index))
        return users @ self.projection.items(items).T / self.settings.temperature

    def loss(self, histories: Sequence[Items], targets: Items, index: Index, items: Tensor | None) -> Tensor:
        """Mean softmax cross entropy over the catalogue without the history, a scalar; ``targets`` [B] are items.

        A text encoder finds the history's own items nearest to it. Since nobody is recommended what they have seen,
        few-shot training would otherwise spend itself on pushing these away, and their like with them.
        """
        scores = self.scores(histories, index, items)
        target_B = torch.as_tensor(targets, dtype=torch.int64, device=scores.device)
        seen = np.concatenate([np.asarray(history, np.int64) for history in histories])
        rows = np.repeat(np.arange(len(histories)), [len(history) for history in histories])
        known_BN = torch.zeros_like(scores, dtype=torch.bool)
        known_BN[torch.from_numpy(rows), torch.from_numpy(seen)] = True
        known_BN.scatter_(1, target_B.unsqueeze(1), False)
        return functional.cross_entropy(scores.masked_fill(known_BN, -torch.inf), target_B)

    def log_likelihoods(
        self,
        histories: Sequence[Items],
        targets: Sequence[Items],
        index: Index,
        items: Tensor | None,
        scores: Tensor | None = None,
    ) -> NDArray[np.float64]:
        """Under the softmax over the catalogue; as :class:`~common.recommenders.recommender.Recommender` says."""
        if scores is None:
            scores = self.scores(histories, index, items)
        logs = torch.log_softmax(scores.double(), dim=-1).cpu()
        means = [row[torch.as_tensor(t, dtype=torch.int64)].mean() for row, t in zip(logs, targets, strict=True)]
        return torch.stack(means).numpy()

    def _encode(self, batch: Sequences) -> Tensor:
        inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
        if self._structured:
            inputs["token_type_ids"] = token_codes(batch)
        if self._global_first:
            first = torch.zeros_like(batch.attention_mask)
            first[:, 0] = 1
            inputs["global_attention_mask"] = first
        # vectors are made and compared in full precision, whatever the base computes in
        hidden_BLH = self.backbone(**inputs).last_hidden_state.float()
        if self.pooling == "first":
            pooled_BH = hidden_BLH[:, 0]
        else:
            # special tokens count like the newest item, so that a single item is pooled alike with any recency
            weights_BL = self.settings.recency ** (batch.items - 1).clamp(min=0) * batch.attention_mask
            weights_BL1 = weights_BL.unsqueeze(-1).to(hidden_BLH.dtype)
            pooled_BH = (hidden_BLH * weights_BL1).sum(1) / weights_BL1.sum(1)
        return functional.normalize(pooled_BH, dim=-1)

    def _check_room(self, config: PreTrainedConfig) -> None:
        limit, around = self.settings.max_tokens, len(self.special.before) + len(self.special.after)
        if limit < self.settings.item_tokens + around:
            need = self.settings.item_tokens + around
            raise ConfigError(
                f"'model.max-tokens' = {limit!r}, but one item and the special tokens may take {need!r}",
                "raise 'model.max-tokens' or lower 'model.item-tokens'",
            )
        positions = getattr(config, "max_position_embeddings", None)
        if positions is None:
            return
        if config.model_type in ("roberta", "xlm-roberta", "longformer", "mpnet"):
            positions -= config.pad_token_id + 1  # these types count positions from after the padding token's
        if limit > positions:
            raise ConfigError(
                f"'model.max-tokens' = {limit!r}, but the model reads {positions!r} at most", "lower 'model.max-tokens'"
            )


def _pooling(asked: Pooling, config: PreTrainedConfig) -> Pooled:
    if asked == "auto":
        declared = declared_pooling(Path(config.name_or_path)) if config.name_or_path else None
        found = declared or ("first" if config.model_type == "longformer" else "mean")
    else:
        found = asked
    if found == "first" and reads_back_only(config):
        raise ConfigError(
            f"'model.pooling' = {asked!r} takes the first token, but in a {config.model_type!r} it reads itself only",
            "set 'model.pooling' to 'mean'",
        )
    return found
