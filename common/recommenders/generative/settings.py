"""How a generative recommender is set up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from common.errors import ConfigError
from common.recommenders.generative.prompt import INSTRUCTION, LossOn, Template

Grounding = Literal["distance", "trie"]
Embedding = Literal["last", "mean"]


@dataclass(frozen=True)
class GenerativeSettings:
    """How a title is asked for, and how words become items.

    history, max_tokens, title_tokens, instruction : see :class:`~common.recommenders.generative.prompt.Template`; beams : of the
    search, and with ``trie`` also the titles that get a score; loss_on : the ``answer``'s tokens, or ``all``;
    max_new_tokens : of what is generated freely, 0: a title's and its end; repeats : whether ``trie`` may spell titles of
    the history; embedding : of a title, the hidden state of its ``last`` token (BIGRec) or the ``mean`` over its tokens.
    """

    history: int = 10
    max_tokens: int = 256
    title_tokens: int = 32
    beams: int = 4
    grounding: Grounding = "distance"
    loss_on: LossOn = "answer"
    instruction: str = INSTRUCTION
    max_new_tokens: int = 0
    repeats: bool = False
    embedding: Embedding = "last"

    def __post_init__(self) -> None:
        if self.beams < 1:
            raise ConfigError(f"beams is {self.beams!r}", "it must be 1 or more")
        if self.max_new_tokens < 0:
            raise ConfigError(f"max_new_tokens is {self.max_new_tokens!r}", "it must be 0 or more")
        kinds = {"grounding": Grounding, "loss_on": LossOn, "embedding": Embedding}
        for name, choices in ((name, get_args(kind)) for name, kind in kinds.items()):
            if getattr(self, name) not in choices:
                raise ConfigError(f"{name} is {getattr(self, name)!r}", f"choose one of {choices!r}")
        _ = self.template

    @property
    def template(self) -> Template:
        """The prompt's texts and sizes."""
        return Template(self.instruction, self.history, self.max_tokens, self.title_tokens)
