"""Texts as token ids that may stand side by side: how a text is tokenised in the middle of a sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from transformers import BatchEncoding, PreTrainedTokenizerBase

from common.errors import ModelError


class Pieces:
    """One tokenizer's ids for pieces of text, each by itself.

    Some tokenizers put a space before every text (SentencePiece, byte-level BPE with a prefix space). At the start of a
    sequence that is as it should be; within one it would add a space that nobody wrote.

    Raises
    ------
    ModelError : the tokenizer adds a space, and does not tell where in a text its tokens lie.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        (ids,) = self.first(["a"])
        twice = cast(str, tokenizer.decode(ids + ids, clean_up_tokenization_spaces=False))
        self.adds_space = twice.strip() != "aa"
        if self.adds_space and not tokenizer.is_fast:
            raise ModelError(
                "the tokenizer adds a space to a text and has no offsets",
                "use a fast tokenizer (a folder with tokenizer.json)",
            )

    def first(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text at the start of a sequence, without special tokens."""
        return list(self._encode(texts)["input_ids"]) if texts else []

    def inner(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text in the middle of a sequence.

        Raises
        ------
        ModelError : the tokenizer joins a text with a line break before it.
        """
        if not (self.adds_space and texts):
            return self.first(texts)
        # a line break takes the added space, and merges with no text that follows
        found = self._encode(["\n" + text for text in texts], return_offsets_mapping=True)
        result = []
        for text, ids, spans in zip(texts, found["input_ids"], found["offset_mapping"], strict=True):
            if any(start < 1 < end for start, end in spans):
                raise ModelError(f"the tokenizer joins {text[:20]!r} with a line break before it")
            result.append([token for token, (start, _) in zip(ids, spans, strict=True) if start >= 1])
        return result

    def _encode(self, texts: Sequence[str], **options: bool) -> BatchEncoding:
        # a special token's name in a text is text: no title may end a sequence
        found: BatchEncoding = self._tokenizer(
            list(texts), add_special_tokens=False, split_special_tokens=True, verbose=False, **options
        )
        return found
