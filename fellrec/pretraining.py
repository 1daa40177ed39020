"""A small base language model from catalogue text, without a hub: made once, then found again by its digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, cast

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from common.data.catalogue import Catalogue
from common.data.place import placed
from common.errors import ConfigError, ModelError
from common.files import read_json
from common.recommenders.corpus import Corpus
from common.recommenders.generative.prompt import INSTRUCTION, Prompts, Template
from common.seeds import derive
from fellrec.base_tokenizer import BOS, EOS, PAD, train_tokenizer
from fellrec.learning import Learning, Pace, Reading, learn
from fellrec.model_card import model_card

RECORD = "pretraining.json"
FORM = 1  # counts up when the same settings would give another model


@dataclass(frozen=True)
class PretrainSettings:
    """The model's shape and how long it learns.

    Parameters
    ----------
    layers, width, heads : of a Llama; the feed-forward width is 8/3 of ``width``, in multiples of 32.
    vocabulary : tokens at most.
    context : tokens of a training sequence at most, and of the model's positions four times as many.
    minutes : how long it learns; the number of steps follows from the machine.
    steps : learn exactly so many steps instead, whatever the time; 0 goes by ``minutes``.
    batch : sequences a step. learning_rate : the highest, of the layers' matrices.
    instruction, history : of the prompt that lists of titles are written as (`Template`).
    """

    layers: int = 4
    width: int = 128
    heads: int = 4
    vocabulary: int = 4096
    context: int = 256
    minutes: float = 5.0
    steps: int = 0
    batch: int = 8
    learning_rate: float = 8e-3
    instruction: str = INSTRUCTION
    history: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("layers", "width", "heads", "batch", "history", "minutes", "learning_rate"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} is {getattr(self, name)!r}", "it must be above 0")
        if self.steps < 0:
            raise ConfigError(f"steps is {self.steps!r}", "give 0 to go by minutes, or a number of steps")
        if self.width % (2 * self.heads):
            raise ConfigError(
                f"width is {self.width!r} with {self.heads!r} heads", "width / heads must be a whole, even number"
            )

    @property
    def template(self) -> Template:
        """The prompt's texts."""
        return Template(self.instruction, self.history, self.context)


def pretrain(
    catalogues: Sequence[Catalogue],
    settings: PretrainSettings,
    folder: Path,
    told: Callable[[Learning], None] = lambda _: None,
) -> dict[str, Any]:
    """Learn a language model from the text of ``catalogues`` and keep it in ``folder``, in the hub's own form.

    A folder that was made from the same text with the same settings stays as it is; an interrupted call is taken up where
    it stood half a minute before. Returns the folder's record, with ``made`` False where it was there already.

    Raises
    ------
    ConfigError : the settings do not go together, or the folder holds another model.
    DataError : the catalogues hold fewer than two titles.
    """
    corpus = Corpus.of(catalogues)
    digest = _digest(corpus, settings)
    if folder.exists():
        found = read_record(folder)
        if found.get("digest") != digest:
            raise ConfigError(
                f"{str(folder)!r} holds a model of other text or settings", "choose another name, or delete it"
            )
        return found | {"made": False}
    tokenizer = train_tokenizer(_texts(corpus, settings.template), settings.vocabulary, settings.context)
    torch.manual_seed(derive(settings.seed, "weights"))
    model = LlamaForCausalLM(_shape(settings, tokenizer))
    prompts = Prompts(tokenizer, settings.template)
    pace = Pace(settings.steps, 60 * settings.minutes, settings.batch, settings.learning_rate, settings.seed)
    state = folder.with_name(f".{folder.name}.{digest[:16]}.safetensors")
    last = learn(model, Reading(corpus, prompts, settings.batch, settings.seed), pace, state, told)
    record = {
        "digest": digest,
        "catalogues": [{"name": one.name, "digest": one.digest, "items": len(one)} for one in catalogues],
        "titles": len(corpus.titles),
        "settings": asdict(settings),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "vocabulary": len(tokenizer),
        "steps": last.steps,
        "loss": last.loss,
        "seconds": last.seconds,
        "versions": {name: metadata.version(name) for name in ("torch", "transformers", "tokenizers")},
    }
    with placed(folder) as building:
        model.eval().save_pretrained(building)
        tokenizer.save_pretrained(building)
        (building / RECORD).write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        (building / "README.md").write_text(model_card(folder.name, record), encoding="utf-8")
    state.unlink(missing_ok=True)
    return record | {"made": True}


def read_record(folder: Path) -> dict[str, Any]:
    """What a pre-trained folder says of itself; raises ModelError where it says nothing."""
    return read_json(
        folder / RECORD, ModelError, f"{str(folder)!r} is no model that fellrec pre-trained: choose another name"
    )


def _digest(corpus: Corpus, settings: PretrainSettings) -> str:
    state = hashlib.sha256(json.dumps([FORM, asdict(settings)], sort_keys=True).encode())
    state.update(corpus.digest.encode())
    return state.hexdigest()


def _texts(corpus: Corpus, template: Template) -> Iterator[str]:
    yield from corpus.documents
    yield from corpus.titles
    # Often enough that the words of every prompt become tokens of their own.
    for _ in range(len(corpus.titles) // 10 + 2):
        yield from (template.head, template.between, template.tail, template.end)


def _id(tokenizer: PreTrainedTokenizerFast, token: str) -> int:
    return cast(int, tokenizer.convert_tokens_to_ids(token))


def _shape(settings: PretrainSettings, tokenizer: PreTrainedTokenizerFast) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=settings.width,
        intermediate_size=max(32, settings.width * 8 // 3 // 32 * 32),
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.heads,
        max_position_embeddings=4 * settings.context,
        tie_word_embeddings=True,
        pad_token_id=_id(tokenizer, PAD),
        bos_token_id=_id(tokenizer, BOS),
        eos_token_id=_id(tokenizer, EOS),
        dtype="float32",
    )
