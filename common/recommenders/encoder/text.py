"""Items and users as text (RecFormer, arXiv 2305.13731): an item is its attributes, a user is the last items.

An item's tokens are made once per catalogue. A user's sequence is put together from them as arrays, so that no text is
tokenised twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from common.errors import DataError, ModelError
from common.recommenders.recommender import Items


class Kind(IntEnum):
    """RecFormer's token types."""

    SPECIAL = 0
    KEY = 1
    VALUE = 2
    PAD = 3


class Special(NamedTuple):
    """What a tokenizer puts around a sequence, e.g. ``[CLS]`` and ``[SEP]``, and what it pads with."""

    before: tuple[int, ...]
    after: tuple[int, ...]
    pad: int


class Sequences(NamedTuple):
    """A batch of token sequences, each int64 [B, L], padded on the right to the longest.

    ``attention_mask`` is 1 for tokens and 0 for padding; ``kinds`` are `Kind`; ``items`` is 0 for special tokens and
    padding, i for the i-th item, newest first.
    """

    input_ids: Tensor
    attention_mask: Tensor
    kinds: Tensor
    items: Tensor


@dataclass(frozen=True)
class ItemTexts:
    """The tokens of a catalogue's items: item i holds ``tokens[offsets[i]:offsets[i + 1]]``.

    Parameters
    ----------
    tokens : NDArray
        int64 [T].
    kinds : NDArray
        int64 [T], `Kind.KEY` or `Kind.VALUE`.
    offsets : NDArray
        int64 [n_items + 1].
    """

    tokens: NDArray[np.int64]
    kinds: NDArray[np.int64]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """int64 [n_items]: tokens of each item."""
        return np.diff(self.offsets)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the tokens and their kinds."""
        parts = (self.tokens, self.kinds, self.offsets)
        return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()


def item_text(attributes: Mapping[str, str]) -> str:
    """``title: Toy Story category: Animation``: its attributes as one text, in their order, without empty ones."""
    return " ".join(f"{key}: {value}" for key, value in attributes.items() if value)


def special_tokens(tokenizer: PreTrainedTokenizerBase) -> Special:
    """What the tokenizer puts before and after a sequence, read off an encoded word."""
    inner = tokenizer("a", add_special_tokens=False)["input_ids"]
    outer = tokenizer("a")["input_ids"]
    for start in range(len(outer) - len(inner) + 1):
        if outer[start : start + len(inner)] == inner:
            pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
            return Special(tuple(outer[:start]), tuple(outer[start + len(inner) :]), pad)
    raise ModelError(f"the tokenizer encodes 'a' as {outer!r}, which does not hold {inner!r}")


def tokenise_items(
    items: Sequence[Mapping[str, str]], tokenizer: PreTrainedTokenizerBase, item_tokens: int
) -> ItemTexts:
    """The token ids of every item's text, each cut to its first ``item_tokens``.

    Raises
    ------
    DataError : an item has no text.
    """
    keys = sorted({key for attributes in items for key in attributes})
    key_ids = dict(zip(keys, _encode(tokenizer, [f" {key}:" for key in keys]), strict=True))
    values = sorted({value for attributes in items for value in attributes.values() if value})
    value_ids = dict(zip(values, _encode(tokenizer, [f" {value}" for value in values]), strict=True))
    tokens: list[int] = []
    kinds: list[int] = []
    offsets = [0]
    for position, attributes in enumerate(items):
        end = offsets[-1] + item_tokens
        for key, value in attributes.items():
            if value and len(tokens) < end:
                tokens += key_ids[key] + value_ids[value]
                kinds += [Kind.KEY] * len(key_ids[key]) + [Kind.VALUE] * len(value_ids[value])
        del tokens[end:], kinds[end:]
        if len(tokens) == offsets[-1]:
            raise DataError(f"item {position!r} has no text: {dict(attributes)!r}", "give every item a title")
        offsets.append(len(tokens))
    return ItemTexts(np.array(tokens, np.int64), np.array(kinds, np.int64), np.array(offsets, np.int64))


def compose(histories: Sequence[Items], texts: ItemTexts, special: Special, history: int, max_tokens: int) -> Sequences:
    """One sequence per history: special tokens around the last ``history`` items, newest first.

    Older items that do not fit whole into ``max_tokens`` are left out. Histories are item indices, oldest first.

    Raises
    ------
    DataError : a history is empty, or names an item that is not in the catalogue.
    """
    items_BH = np.full((len(histories), history), -1, np.int64)
    for row, items in enumerate(histories):
        newest = np.asarray(items[-history:], np.int64)[::-1]
        if not len(newest) or newest.min() < 0 or newest.max() >= len(texts):
            raise DataError(f"history {list(items)!r} holds no items of a catalogue of {len(texts)!r}")
        items_BH[row, : len(newest)] = newest
    lengths_BH = np.where(items_BH >= 0, texts.lengths[items_BH], 0)
    room = max_tokens - len(special.before) - len(special.after)
    kept_BH = (items_BH >= 0) & (np.cumsum(lengths_BH, axis=1) <= room)
    if not kept_BH[:, 0].all():
        raise DataError(f"max_tokens {max_tokens!r} leaves no room for an item", "raise it above the items' length")
    return _assemble(items_BH, kept_BH, texts, special)


def _assemble(items_BH: NDArray[np.int64], kept_BH: NDArray[np.bool_], texts: ItemTexts, special: Special) -> Sequences:
    rows, places = np.nonzero(kept_BH)
    items = items_BH[rows, places]
    lengths = texts.lengths[items]
    total_B = np.bincount(rows, weights=lengths, minlength=len(items_BH)).astype(np.int64)
    starts_B = np.cumsum(total_B) - total_B
    # one entry per token, row by row: where it comes from, and the row and column it goes to
    token_rows = np.repeat(rows, lengths)
    within_item = np.arange(len(token_rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    source = np.repeat(texts.offsets[items], lengths) + within_item
    columns = np.arange(len(token_rows)) - starts_B[token_rows] + len(special.before)

    shape = (len(items_BH), int(total_B.max()) + len(special.before) + len(special.after))
    input_ids = np.full(shape, special.pad, np.int64)
    kinds = np.full(shape, int(Kind.PAD), np.int64)
    positions = np.zeros(shape, np.int64)
    input_ids[:, : len(special.before)] = special.before
    kinds[:, : len(special.before)] = Kind.SPECIAL
    input_ids[token_rows, columns] = texts.tokens[source]
    kinds[token_rows, columns] = texts.kinds[source]
    positions[token_rows, columns] = np.repeat(places + 1, lengths)
    ends_B = total_B + len(special.before)
    for place, token in enumerate(special.after):
        input_ids[np.arange(len(items_BH)), ends_B + place] = token
        kinds[np.arange(len(items_BH)), ends_B + place] = Kind.SPECIAL
    mask = (kinds != Kind.PAD).astype(np.int64)
    return Sequences(*(torch.from_numpy(array) for array in (input_ids, mask, kinds, positions)))


def _encode(tokenizer: PreTrainedTokenizerBase, texts: list[str]) -> list[list[int]]:
    if not texts:
        return []
    found: list[list[int]] = tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
    return found
