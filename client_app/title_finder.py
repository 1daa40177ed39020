"""Titles as a person types them, found in a catalogue: as they are, or else the one that is spelled most alike."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from common.errors import DataError

LEAST_ALIKE = 0.3
"""Cosine of tf-idf vectors over character n-grams below which a title stands for nothing in the catalogue."""


class TitleFinder:
    """Finds the items that titles stand for.

    Parameters
    ----------
    titles : of the catalogue's items, in order.
    """

    def __init__(self, titles: Sequence[str]) -> None:
        self._titles = titles
        self._places = {title: place for place, title in reversed(list(enumerate(titles)))}

    def find(self, title: str) -> tuple[int, str]:
        """The position of the first item of this title, and ''; else of the nearest title, and a note that says so.

        Raises
        ------
        DataError : no title is like it.
        """
        asked = title.strip()
        if asked in self._places:
            return self._places[asked], ""
        vectorizer, vectors = self._spelling
        alike = (vectors @ vectorizer.transform([asked]).T).toarray()[:, 0]
        nearest = int(np.argmax(alike))
        if alike[nearest] < LEAST_ALIKE:
            raise DataError(f"no title of the catalogue is like {title!r}", f"the nearest is {self._titles[nearest]!r}")
        return nearest, f"{title!r} was read as {self._titles[nearest]!r}"

    @cached_property
    def _spelling(self) -> tuple[TfidfVectorizer, object]:
        vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), dtype=np.float32)
        return vectorizer, vectorizer.fit_transform(self._titles)
