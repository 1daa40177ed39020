"""The generative recommender (BIGRec, arXiv 2308.08434): a causal model is asked for a title in words.

Trained on prompt and title by the tokens' cross entropy. Words become items in one of two ways: ``distance`` generates
freely and ranks the catalogue by the L2 distance of its titles to what was generated, both embedded by the base model;
``trie`` lets beams spell titles of the catalogue only, each scored by its exact log-likelihood.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from common.errors import ConfigError
from common.models import config_of
from common.recommenders.encoder.projection import Identity
from common.recommenders.generative.grounding import distances
from common.recommenders.generative.prompt import IGNORED, Batch, LossOn, Prompts
from common.recommenders.generative.search import search
from common.recommenders.generative.settings import GenerativeSettings, Grounding
from common.recommenders.generative.title_index import TitleIndex
from common.recommenders.generative.trie import TrieProcessor
from common.recommenders.recommender import HasItems, Index, Items, Recommender, own_index
from common.recommenders.vocabulary import check_ids, check_vocabulary

LEAST = -1e8
"""Beams below it are the library's own fillers, which start at -1e9; no title of a few tokens comes near it."""

ROWS = 160
"""Beams, of all users together, that are decoded at once: their keys and values are held."""


class GenerativeRecommender(Recommender):
    """A causal model, asked for a title.

    Parameters
    ----------
    backbone : nn.Module
        A causal model, plain, with adapters, or with layers elsewhere; right with its padding on the left.
    tokenizer : PreTrainedTokenizerBase
        The backbone's own.
    settings : GenerativeSettings
        How titles are asked for.

    Attributes
    ----------
    base_context : callable
        What, entered, makes layers elsewhere compute without adapters; those here are switched off anyway.

    Raises
    ------
    ModelError : the tokenizer cannot be used, see :class:`~common.recommenders.generative.prompt.Prompts`, or is another model's.
    ConfigError : ``max_tokens`` leaves no room for a title, or is more than the backbone reads.
    """

    def __init__(self, backbone: nn.Module, tokenizer: PreTrainedTokenizerBase, settings: GenerativeSettings) -> None:
        super().__init__()
        self.backbone, self.tokenizer, self.settings = backbone, tokenizer, settings
        self.projection = Identity()
        self.prompts = Prompts(tokenizer, settings.template)
        self.base_context: Callable[[], AbstractContextManager[None]] = nullcontext
        self._answer_tokens = settings.title_tokens + len(self.prompts.end)
        self._new_tokens = settings.max_new_tokens or self._answer_tokens
        need = settings.max_tokens + max(0, self._new_tokens - self._answer_tokens)
        limit = getattr(backbone.config, "max_position_embeddings", None)
        if limit is not None and need > limit:
            raise ConfigError(
                f"'model.max-tokens' = {settings.max_tokens!r}: prompt and answer take {need!r} tokens, but the model reads"
                f" {limit!r} at most",
                "lower 'model.max-tokens'",
            )
        check_vocabulary(tokenizer, config_of(backbone), (*self.prompts.before, *self.prompts.end, self.prompts.pad))

    @property
    def items_are_trained(self) -> bool:
        """Only where the base model itself is trained, and there is no other that could embed titles."""
        adapted = isinstance(self.backbone, PeftModel)
        return not adapted and any(parameter.requires_grad for parameter in self.backbone.parameters())

    def catalogue_index(self, catalogue: HasItems) -> TitleIndex:
        """The tokens of a catalogue's titles, made once.

        Raises
        ------
        DataError : an item has no title.
        ModelError : a title holds a token that the model does not know.
        """
        titles = self.prompts.titles(catalogue)
        check_ids(titles.tokens, self.tokenizer, config_of(self.backbone))
        return TitleIndex(titles, self.prompts)

    def loss(
        self,
        histories: Sequence[Items],
        targets: Items,
        index: Index,
        items: Tensor | None = None,
    ) -> Tensor:
        """The mean over examples of the mean cross entropy of an example's learnt tokens, a scalar.

        Every example counts the same, however long its title: the loss of a batch is the weighted mean of its parts',
        so that micro-batches and clients' numbers of examples mean what they say. A target that stands in the history
        stands in the prompt too, as it does when it is generated.
        """
        logs, learnt = self._token_logs(histories, targets, own_index(index, TitleIndex), self.settings.loss_on)
        return -(logs.sum(1) / learnt.sum(1)).mean()

    def log_likelihoods(
        self,
        histories: Sequence[Items],
        targets: Sequence[Items],
        index: Index,
        items: Tensor | None = None,
        scores: Tensor | None = None,
    ) -> NDArray[np.float64]:
        """Of writing the target's title, closing quote and end of sequence; as
        :class:`~common.recommenders.recommender.Recommender` says.
        """
        wanted = [np.atleast_1d(np.asarray(target, np.int64)) for target in targets]
        users = np.repeat(np.arange(len(wanted)), [len(target) for target in wanted])
        flat, found, titles = np.concatenate(wanted), [], own_index(index, TitleIndex)
        with self._still():
            for start in range(0, len(flat), len(histories)):
                rows = slice(start, start + len(histories))
                chosen = [histories[user] for user in users[rows]]
                logs, _ = self._token_logs(chosen, flat[rows].tolist(), titles, "answer")
                found.append(logs.double().sum(1).cpu().numpy())
        return np.bincount(users, np.concatenate(found), len(wanted)) / np.bincount(users, minlength=len(wanted))

    def encode_items(self, index: Index, batch: int = 64) -> Tensor:
        """Title embeddings of the base model float32 [n_items, H]: the last layer's last token, or the mean over tokens."""
        titles = own_index(index, TitleIndex).titles
        return self._embed([titles[item] for item in range(len(titles))], batch)

    def scores(
        self,
        histories: Sequence[Items],
        index: Index,
        items: Tensor | None,
        grounding: Grounding | None = None,
    ) -> Tensor:
        """Scores float32 [B, n_items], by the settings' way of grounding or another; items of one title score alike.

        ``distance``: minus the L2 distance to what was generated. ``trie``: the log-likelihood of the title, -inf for
        titles that no beam spelled; ``items`` is not read.
        """
        if (grounding or self.settings.grounding) == "trie":
            return self._spelled(histories, own_index(index, TitleIndex))
        if items is None:
            raise ConfigError("items is None, but distances need the item matrix", "pass encode_items(index)")
        generated = self.prompts.pieces.inner(self.generate(histories, index))
        embedded = self._embed([ids[: self.settings.title_tokens] for ids in generated], len(histories))
        return -distances(embedded, items.to(embedded.device))

    def generate(self, histories: Sequence[Items], index: Index) -> list[str]:
        """What the model answers, one text a history: the best of ``beams`` beams, or greedily with one."""
        texts, titles = [], own_index(index, TitleIndex).titles
        for rows in self._chunks(histories):
            batch = self.prompts.encode(rows, titles).to(self._device)
            with self._still():
                found = search(self._causal, self.prompts, batch, self.settings.beams, 1, self._new_tokens)
            texts += [self.prompts.decode(ids) for ids in found.sequences[:, batch.input_ids.shape[1] :].tolist()]
        return texts

    def _spelled(self, histories: Sequence[Items], index: TitleIndex) -> Tensor:
        beams, trie = self.settings.beams, index.trie
        scores = torch.full((len(histories), len(index)), -torch.inf, device=self._device)
        longest = int(index.titles.lengths.max()) + len(self.prompts.end)
        done = 0
        for rows in self._chunks(histories):
            batch = self.prompts.encode(rows, index.titles).to(self._device)
            prompt = batch.input_ids.shape[1]
            processor = TrieProcessor(trie, prompt, None if self.settings.repeats else rows)
            with self._still():
                found = search(self._causal, self.prompts, batch, beams, beams, longest, 0.0, processor)
            leaves = trie.walk(found.sequences[:, prompt:].cpu().numpy()).tolist()
            users = np.arange(len(leaves)) // beams
            titles = [trie.items_at(leaf) for leaf in leaves]
            if found.sequences_scores is None:
                likely = self._greedy_likelihoods(rows, titles, index)
            else:
                likely = found.sequences_scores.tolist()
            for user, same, score in zip(users, titles, likely, strict=True):
                if score > LEAST:
                    scores[done + user, list(same)] = score
            done += len(rows)
        return scores

    def _greedy_likelihoods(
        self, histories: Sequence[Items], titles: Sequence[tuple[int, ...]], index: TitleIndex
    ) -> list[float]:
        """The library scores no single beam, so it is read once more."""
        first = [np.array(same[:1]) if same else np.zeros(1, np.int64) for same in titles]
        found = self.log_likelihoods(histories, first, index)
        return [value if same else -np.inf for value, same in zip(found, titles, strict=True)]

    def _token_logs(
        self, histories: Sequence[Items], targets: Items, index: TitleIndex, loss_on: LossOn
    ) -> tuple[Tensor, Tensor]:
        """Log-likelihoods float32 [B, T] of the learnt tokens, 0 elsewhere, and which these are."""
        *read, labels = self.prompts.with_answers(histories, targets, index.titles, loss_on)
        batch, labels = Batch(*read).to(self._device), labels.to(self._device)
        learnt = labels != IGNORED
        # of logits only those are made that are read: a vocabulary is wider than everything else
        kept = labels.shape[1] if loss_on == "all" else int(learnt.sum(1).max()) + 1
        logits = self.backbone(**batch._asdict(), use_cache=False, logits_to_keep=kept).logits[:, :-1]
        wanted, learnt = labels[:, 1 - kept :], learnt[:, 1 - kept :]
        losses = functional.cross_entropy(
            logits.float().flatten(0, 1), wanted.flatten(), ignore_index=IGNORED, reduction="none"
        )
        return -losses.view_as(wanted), learnt

    def _embed(self, rows: Sequence[Sequence[int]], batch: int) -> Tensor:
        """The base model's last hidden states, after the final norm, as one vector a row, float32 [R, H]."""
        texts = [[*self.prompts.before, *row] or [self.prompts.eos] for row in rows]
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        found = []
        with self._still(), self._base():
            for start in range(0, len(order), batch):
                read = self.prompts.pad_left([texts[row] for row in order[start : start + batch]]).to(self._device)
                hidden_BTH = self._causal.base_model(**read._asdict(), use_cache=False).last_hidden_state.float()
                if self.settings.embedding == "last":
                    found.append(hidden_BTH[:, -1])
                else:
                    mask_BT1 = read.attention_mask.unsqueeze(-1).to(hidden_BTH.dtype)
                    found.append((hidden_BTH * mask_BT1).sum(1) / mask_BT1.sum(1))
        embedded = torch.cat(found)
        return torch.empty_like(embedded).index_copy_(0, torch.tensor(order, device=embedded.device), embedded)

    def _chunks(self, histories: Sequence[Items]) -> Iterator[Sequence[Items]]:
        users = max(1, ROWS // self.settings.beams)
        yield from (histories[start : start + users] for start in range(0, len(histories), users))

    @property
    def _causal(self) -> PreTrainedModel:
        plain = self.backbone.get_base_model() if isinstance(self.backbone, PeftModel) else self.backbone
        return cast(PreTrainedModel, plain)

    @property
    def _device(self) -> torch.device:
        return next(self.backbone.parameters()).device

    @contextmanager
    def _base(self) -> Iterator[None]:
        with ExitStack() as stack:
            stack.enter_context(self.base_context())
            if isinstance(self.backbone, PeftModel):
                stack.enter_context(self.backbone.disable_adapter())
            yield

    @contextmanager
    def _still(self) -> Iterator[None]:
        """Without gradient and dropout."""
        training = self.training
        self.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self.train(training)
