"""A catalogue's titles as token ids, made once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Titles:
    """The tokens of each title as they stand between quotes: item i holds ``tokens[offsets[i]:offsets[i + 1]]``.

    Parameters
    ----------
    tokens : NDArray
        int64 [T].
    offsets : NDArray
        int64 [n_items + 1].
    """

    tokens: NDArray[np.int64]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, item: int) -> list[int]:
        """The token ids of one item's title."""
        found: list[int] = self.tokens[self.offsets[item] : self.offsets[item + 1]].tolist()
        return found

    @property
    def lengths(self) -> NDArray[np.int64]:
        """int64 [n_items]: tokens of each title."""
        return np.diff(self.offsets)

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) over tokens and offsets."""
        return hashlib.sha256(self.tokens.tobytes() + self.offsets.tobytes()).hexdigest()
