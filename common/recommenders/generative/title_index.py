"""A catalogue as a generative recommender reads it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from common.recommenders.generative.prompt import Prompts
from common.recommenders.generative.titles import Titles
from common.recommenders.generative.trie import TitleTrie


@dataclass(frozen=True)
class TitleIndex:
    """A catalogue's titles, as tokens, as a trie and as text; the last two are made when they are first asked for."""

    titles: Titles
    prompts: Prompts

    def __len__(self) -> int:
        return len(self.titles)

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over the titles' tokens."""
        return self.titles.digest

    @cached_property
    def trie(self) -> TitleTrie:
        """Every title with its end."""
        return TitleTrie(self.titles, self.prompts.end)

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """Every title as it can be generated, so cut to ``title_tokens``."""
        return tuple(self.prompts.decode([*self.titles[item], *self.prompts.end]) for item in range(len(self)))
