"""Text to pre-train on, from a catalogue alone: its items, and lists of titles that are alike.

No interaction, no popularity and nothing that follows from either goes in: items are taken in the order of their
text, so that not even the order of the catalogue counts. Likeness is the cosine of tf-idf vectors over title words
and attribute values, which anybody can compute who can read the catalogue.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.feature_extraction.text import TfidfVectorizer

from common.data.catalogue import Catalogue
from common.errors import DataError
from common.recommenders.encoder.text import item_text

NEAR = 20  # neighbours that a title may be followed by
STRAY = 0.1  # share of steps to a title like none before: people's lists are of more than one kind
RECENT = 0.5  # chance that a step starts at the newest title, then at the one before, ...
CHUNK = 512  # rows of likenesses that are in memory at a time


@dataclass(frozen=True)
class Corpus:
    """The distinct items of one or more catalogues, as text.

    Parameters
    ----------
    titles : distinct titles, sorted.
    documents : each item's attributes as one text (`item_text`), distinct, sorted.
    features : for each title, what it is compared by: its words and pairs of words, and ``key=value`` for each value
        of its items' other attributes.
    """

    titles: tuple[str, ...]
    documents: tuple[str, ...]
    features: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, catalogues: Iterable[Catalogue]) -> Corpus:
        """The corpus of all items of these catalogues, whatever their order.

        Raises
        ------
        DataError : there are fewer than two titles.
        """
        features: dict[str, set[str]] = {}
        documents: set[str] = set()
        for catalogue in catalogues:
            for item in catalogue.items:
                documents.add(item_text(item))
                features.setdefault(item["title"], set()).update(_features(item))
        if len(features) < 2:
            raise DataError(
                f"there are {len(features)!r} distinct titles to pre-train on", "give a catalogue of two or more"
            )
        titles = tuple(sorted(features))
        return cls(titles, tuple(sorted(documents)), tuple(tuple(sorted(features[title])) for title in titles))

    def __len__(self) -> int:
        return len(self.titles)

    @property
    def items(self) -> tuple[dict[str, str], ...]:
        """An item for each title, in order, for whoever reads titles from a catalogue."""
        return tuple({"title": title} for title in self.titles)

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) over titles, documents and features."""
        text = json.dumps([self.titles, self.documents, self.features], ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    @cached_property
    def vectors(self) -> csr_array:
        """tf-idf vectors of the titles, float32 [n_titles, n_features], of length 1."""
        weigh = TfidfVectorizer(analyzer=lambda features: features, dtype=np.float32)
        return csr_array(weigh.fit_transform(self.features))

    @cached_property
    def near(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The titles most like each title: positions int64 [n_titles, k], and weights float64 [n_titles, k].

        k is 20, or one less than there are titles. Weights are cosines, scaled to a sum of 1 in each row; they are 0 for
        a title like no other.
        """
        count = min(NEAR, len(self.titles) - 1)
        found, weights = [], []
        for start in range(0, len(self.titles), CHUNK):
            rows = (self.vectors[start : start + CHUNK] @ self.vectors.T).toarray()
            rows[np.arange(len(rows)), np.arange(start, start + len(rows))] = -1.0
            nearest = np.argsort(-rows, axis=1, kind="stable")[:, :count]
            found.append(nearest)
            weights.append(np.take_along_axis(rows, nearest, axis=1).astype(np.float64))
        alike = np.concatenate(weights)
        totals = alike.sum(axis=1, keepdims=True)
        return np.concatenate(found), np.divide(alike, totals, out=np.zeros_like(alike), where=totals > 0)

    def lists(self, count: int, length: int, random: np.random.Generator) -> list[list[int]]:
        """``count`` lists of ``length`` different titles (positions): each like one before it, mostly the newest.

        Lists are shorter only where there are fewer titles.
        """
        length = min(length, len(self.titles))
        return [self._walk(length, random) for _ in range(count)]

    def _walk(self, length: int, random: np.random.Generator) -> list[int]:
        found, weights = self.near
        walked = [int(random.integers(len(self.titles)))]
        while len(walked) < length:
            position = walked[-min(int(random.geometric(RECENT)), len(walked))]
            following = int(random.integers(len(self.titles)))
            if random.random() >= STRAY and weights[position].any():
                like = int(random.choice(found[position], p=weights[position]))
                following = following if like in walked else like
            if following not in walked:
                walked.append(following)
        return walked


def _features(item: Mapping[str, str]) -> Iterable[str]:
    words = "".join(c if c.isalnum() else " " for c in item["title"].lower()).split()
    yield from words
    yield from (" ".join(pair) for pair in zip(words, words[1:], strict=False))
    for key, value in item.items():
        if key != "title":
            yield from (f"{key}={part.strip().lower()}" for part in value.split(","))
