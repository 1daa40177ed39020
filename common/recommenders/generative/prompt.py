"""Histories as prompts (BIGRec, arXiv 2308.08434): an instruction, the titles of the history, the title to come.

A prompt is put together from pieces that are tokenised one by one, and the pieces' ids stand side by side: no merge of
the tokenizer crosses from the prompt into the answer, or from one title into the next. What the model learns to answer
is, id for id, what it has to write when it generates, and a title has the same ids wherever it stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from common.errors import ConfigError, DataError, ModelError
from common.recommenders.encoder.text import special_tokens
from common.recommenders.generative.pieces import Pieces
from common.recommenders.generative.titles import Titles
from common.recommenders.recommender import HasItems, Items

INSTRUCTION = (
    "Given a list of items that the user has liked before, please recommend a new item that the user will like."
)
"""After BIGRec's instruction, for any kind of thing."""

IGNORED = -100
"""The label of a token that is not learnt."""

LossOn = Literal["answer", "all"]


@dataclass(frozen=True)
class Template:
    """The texts of the one prompt, in training as in inference (Alpaca's form: instruction, input, response).

    Parameters
    ----------
    instruction : str
        What is asked for.
    history : int
        Titles of a user that are read, at most, the newest.
    max_tokens : int
        Tokens of a prompt and its answer together, at most.
    title_tokens : int
        Tokens of one title, at most.
    """

    instruction: str = INSTRUCTION
    history: int = 10
    max_tokens: int = 256
    title_tokens: int = 32

    def __post_init__(self) -> None:
        if not self.instruction.strip():
            raise ConfigError(f"instruction is {self.instruction!r}", "say what is to be recommended")
        for name in ("history", "max_tokens", "title_tokens"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)!r}", "it must be 1 or more")

    @property
    def head(self) -> str:
        """What stands before the first title, its opening quote included."""
        return f'### Instruction:\n{self.instruction}\n\n### Input:\n"'

    @property
    def between(self) -> str:
        """What stands between two titles, from the one's closing quote to the other's opening quote."""
        return '", "'

    @property
    def tail(self) -> str:
        """What stands between the last title and the answer, whose opening quote is the prompt's last character."""
        return '"\n\n### Response:\n"'

    @property
    def end(self) -> str:
        """What stands after the answer; the tokenizer's end of sequence follows."""
        return '"'

    def text(self, history_titles: Sequence[str], answer: str | None = None) -> str:
        """The prompt for titles, oldest first, as plain text, with the answer where one is given.

        Tokenised as a whole it may give other ids than :class:`Prompts`, which never joins two pieces.
        """
        prompt = self.head + self.between.join(history_titles[-self.history :]) + self.tail
        return prompt if answer is None else prompt + answer + self.end


class Batch(NamedTuple):
    """Token sequences, each int64 [B, T], padded on the left to the longest.

    ``attention_mask`` is 1 for tokens and 0 for padding; ``position_ids`` count a row's tokens from 0 and are 0 on the
    padding.
    """

    input_ids: Tensor
    attention_mask: Tensor
    position_ids: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return Batch(*(tensor.to(device) for tensor in self))


class Answered(NamedTuple):
    """A :class:`Batch` that ends with the answers, and ``labels`` [B, T]: the id itself, or -100 where it is not learnt."""

    input_ids: Tensor
    attention_mask: Tensor
    position_ids: Tensor
    labels: Tensor


class Prompts:
    """The template in one tokenizer's ids.

    Raises
    ------
    ModelError : the tokenizer has no end-of-sequence token, or does not tell where its tokens lie.
    ConfigError : ``max_tokens`` leaves no room for one title and an answer.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, template: Template) -> None:
        if tokenizer.eos_token_id is None:
            raise ModelError("the tokenizer has no end-of-sequence token", "use a causal model's own tokenizer")
        self.template, self._tokenizer = template, tokenizer
        self.eos = int(tokenizer.eos_token_id)
        self.pad = self.eos if tokenizer.pad_token_id is None else int(tokenizer.pad_token_id)
        self.before = special_tokens(tokenizer).before
        self.pieces = Pieces(tokenizer)
        (head,) = self.pieces.first([template.head])
        self._head = [*self.before, *head]
        self._between, self._tail, quote = self.pieces.inner([template.between, template.tail, template.end])
        self.end = (*quote, self.eos)
        need = len(self._head) + len(self._tail) + len(self.end) + 2 * template.title_tokens
        if template.max_tokens < need:
            raise ConfigError(
                f"'model.max-tokens' = {template.max_tokens!r}, but the prompt, one title and the answer may take {need!r}",
                "raise 'model.max-tokens', lower 'model.item-tokens' or shorten 'generate.instruction'",
            )

    def titles(self, catalogue: HasItems) -> Titles:
        """The ids of every title, each cut to its first ``title_tokens``.

        Raises
        ------
        DataError : an item has no title.
        """
        found = self.pieces.inner([item.get("title", "") for item in catalogue.items])
        for position, ids in enumerate(found):
            if not ids:
                raise DataError(f"item {position!r} has no title: {dict(catalogue.items[position])!r}")
        cut = [ids[: self.template.title_tokens] for ids in found]
        offsets = np.cumsum([0, *map(len, cut)])
        return Titles(np.array([token for ids in cut for token in ids], np.int64), offsets.astype(np.int64))

    def encode(self, histories: Sequence[Items], titles: Titles) -> Batch:
        """The prompts of histories, which are item indices, oldest first; each ends with the answer's opening quote.

        Of a history that is too long the oldest titles are left out: an answer of ``title_tokens`` always fits.

        Raises
        ------
        DataError : a history is empty, or names an item that is not in the catalogue.
        """
        return self.pad_left([self._prompt(history, titles) for history in histories])

    def with_answers(
        self,
        histories: Sequence[Items],
        targets: Items,
        titles: Titles,
        loss_on: LossOn = "answer",
    ) -> Answered:
        """The same prompts, each with the title of its target, the closing quote and the end of sequence.

        Labels stand on the answer, or with ``loss_on="all"`` on every token that follows another.

        Raises
        ------
        DataError : as with :meth:`encode`, or a target is not in the catalogue.
        """
        prompts = [self._prompt(history, titles) for history in histories]
        answers = [[*titles[target], *self.end] for target in _checked(targets, titles)]
        batch = self.pad_left([prompt + answer for prompt, answer in zip(prompts, answers, strict=True)])
        # a row's first token follows nothing, least of all the padding
        labels = batch.input_ids.masked_fill(batch.attention_mask.cumsum(1) < 2, IGNORED)
        if loss_on == "answer":
            for row, answer in enumerate(answers):
                labels[row, : -len(answer)] = IGNORED
        return Answered(*batch, labels)

    def pad_left(self, rows: Sequence[Sequence[int]]) -> Batch:
        """Sequences of ids, padded on the left to the longest."""
        longest = max(map(len, rows))
        ids = torch.tensor([[self.pad] * (longest - len(row)) + list(row) for row in rows], dtype=torch.int64)
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows], dtype=torch.int64)
        return Batch(ids, mask, (mask.cumsum(1) - 1).clamp(min=0))

    def decode(self, ids: Sequence[int]) -> str:
        """The text of an answer: up to the end of sequence, without the closing quote."""
        kept = list(ids)
        if self.eos in kept:
            kept = kept[: kept.index(self.eos)]
            quote = list(self.end[:-1])
            if kept[len(kept) - len(quote) :] == quote:
                kept = kept[: len(kept) - len(quote)]
        # behind a quote, since SentencePiece drops the space that a text begins with
        text = cast(str, self._tokenizer.decode([*self.end[:-1], *kept], clean_up_tokenization_spaces=False))
        return text.lstrip().removeprefix(self.template.end)

    def _prompt(self, history: Items, titles: Titles) -> list[int]:
        newest = _checked(history[-self.template.history :], titles)[::-1]
        answer = self.template.title_tokens + len(self.end)
        room = self.template.max_tokens - len(self._head) - len(self._tail) - answer
        kept: list[int] = []
        for item in newest:
            joint = self._between if kept else []
            if len(kept) + len(joint) + titles.lengths[item] > room:
                break
            kept = titles[item] + joint + kept
        return self._head + kept + self._tail


def _checked(items: Items, titles: Titles) -> list[int]:
    numbers = [int(item) for item in items]
    if not numbers or min(numbers) < 0 or max(numbers) >= len(titles):
        raise DataError(f"items {numbers!r} are not of a catalogue of {len(titles)!r}", "give at least one, from 0")
    return numbers
