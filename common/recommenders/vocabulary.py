"""Whether a tokenizer's ids are those of a model's table of words."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedConfig, PreTrainedTokenizerBase

from common.errors import ModelError


def check_vocabulary(tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig, always: Iterable[int]) -> None:
    """Refuses a tokenizer of another model: an id beyond the table would end a run in the middle of a round.

    Tokens that were added, and that no sequence needs, may lie beyond: Gemma 3's tokenizer has one for pictures, its text
    models have no row for it.

    Parameters
    ----------
    always : ids that stand in every sequence: special tokens and padding.

    Raises
    ------
    ModelError : names a token and its id.
    """
    added = set(tokenizer.get_added_vocab().values()) - set(always)
    vocabulary = {token: number for token, number in tokenizer.get_vocab().items() if number not in added}
    token = max(vocabulary, key=vocabulary.__getitem__)
    _check(vocabulary[token], repr(token), config)


def check_ids(ids: NDArray[np.int64], tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig) -> None:
    """Refuses texts, as ids [T], with a token beyond the model's table.

    Raises
    ------
    ModelError : names the token and its id.
    """
    largest = int(ids.max(initial=0))
    _check(largest, repr(tokenizer.convert_ids_to_tokens(largest)), config)


def _check(number: int, token: str, config: PreTrainedConfig) -> None:
    if number >= config.vocab_size:
        raise ModelError(
            f"the tokenizer gives token {token} the id {number!r}, the model's table has {config.vocab_size!r} rows",
            "give the model's own tokenizer, or resize the model's embeddings and save both",
        )
