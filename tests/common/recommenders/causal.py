"""Tokenizers trained in a test and causal models with random weights, small enough to be made in one."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    set_seed,
)

TITLES = (
    "Halo 3",
    "Halo",
    "Halo 3: ODST",
    ".hack//G.U. Vol. 1",
    'The "Best" of Pokémon (DS)',
    "Ōkami",
    "神の塔",
    "Tetris!",
    "Zelda - Link's Awakening",
    "Halo",
    "1942",
    "</s>",
    'Say "Hi"',
    "Mario Kart: Double Dash!!",
)
"""Prefixes of one another, quotes at either end, duplicates, characters of several bytes, a special token's name."""

CORPUS = [*TITLES, "### Instruction:\nGiven a list of titles\n\n### Input:\n", '", "', "### Response:\n"] * 2


def byte_level(
    prefix_space: bool = False, vocabulary: int = 300, corpus: Iterable[str] = CORPUS
) -> PreTrainedTokenizerFast:
    """Byte-level BPE as GPT-2's, no token before a text."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
    inner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=["<pad>", "</s>"], initial_alphabet=alphabet)
    inner.train_from_iterator(corpus, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="</s>", pad_token="<pad>")


def metaspace(vocabulary: int = 400) -> PreTrainedTokenizerFast:
    """BPE as Llama's SentencePiece: a metaspace before every text, unknown characters as bytes, ``<s>`` at the start."""
    inner = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    inner.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    inner.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    corpus = [text.replace("\n", " ").replace("神の塔", "") for text in CORPUS]
    inner.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=special))
    inner.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def llama(vocabulary: int, seed: int = 0, positions: int = 512, layers: int = 2) -> PreTrainedModel:
    """A random small Llama, 16 wide, its output weights large enough for a peaked distribution."""
    set_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=16,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=32,
        max_position_embeddings=positions,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
        initializer_range=0.3,
    )
    return LlamaForCausalLM(config).eval()


def gpt2(vocabulary: int, seed: int = 0, positions: int = 512) -> PreTrainedModel:
    """A random two-layer GPT-2, 16 wide."""
    set_seed(seed)
    config = GPT2Config(
        vocab_size=vocabulary,
        n_embd=16,
        n_layer=2,
        n_head=2,
        n_positions=positions,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=1,
        initializer_range=0.3,
    )
    return GPT2LMHeadModel(config).eval()
