"""A byte-level tokenizer, trained on given texts: it can spell any text, so it has no unknown token."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from common.errors import ConfigError

PAD, BOS, EOS = "<pad>", "<s>", "</s>"
SPECIAL = (PAD, BOS, EOS)
LEAST = len(SPECIAL) + 256
"""The smallest vocabulary: the special tokens and one token for each byte."""


def train_tokenizer(texts: Iterable[str], vocabulary: int, context: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE (Radford et al., 2019) with ``vocabulary`` tokens at most; every sequence begins with ``<s>``.

    Special tokens have the ids 0 (padding), 1 (begin) and 2 (end). ``context`` is the longest sequence in tokens that
    the tokenizer declares.

    Raises
    ------
    ConfigError : the vocabulary has no room for the bytes.
    """
    if vocabulary < LEAST:
        raise ConfigError(
            f"vocabulary is {vocabulary!r}, the bytes and special tokens alone are {LEAST!r}", "raise --vocabulary"
        )
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=list(SPECIAL),
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        ),
    )
    inner.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, SPECIAL.index(BOS))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        padding_side="left",
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    )
