"""Models small enough to be made in a test, and a word-level tokenizer for them."""

from __future__ import annotations

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import (
    BertConfig,
    BertModel,
    LongformerConfig,
    LongformerModel,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    set_seed,
)

WORDS = "[PAD] [CLS] [SEP] [UNK] a title category : red blue green fox bear owl long".split()

SHAPE = {
    "vocab_size": len(WORDS),
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 66,
    "pad_token_id": 0,
}


def tokenizer() -> PreTrainedTokenizerFast:
    """Words to numbers, with [CLS] before and [SEP] after."""
    inner = Tokenizer(WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    inner.pre_tokenizer = Whitespace()
    inner.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)])
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]"
    )


def bert(seed: int = 0) -> PreTrainedModel:
    """A random two-layer BERT, 16 wide."""
    set_seed(seed)
    return BertModel(BertConfig(**SHAPE), add_pooling_layer=False).eval()


def longformer(seed: int = 0) -> PreTrainedModel:
    """A random two-layer Longformer with windows of 4 tokens."""
    set_seed(seed)
    config = LongformerConfig(**SHAPE, type_vocab_size=1, attention_window=[4, 4], sep_token_id=2, bos_token_id=1)
    return LongformerModel(config, add_pooling_layer=False).eval()
