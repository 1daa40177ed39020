"""Categorical attributes of users or items, as codes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from common.errors import DataError

UNKNOWN = ""
"""The value that code 0 stands for in every attribute."""


@dataclass(frozen=True, eq=False)
class Attributes:
    """Categorical attributes of users or items as codes.

    Parameters
    ----------
    names : of the attributes.
    values : per attribute its distinct values in the order of their codes; the first is :data:`UNKNOWN`.
    codes : int32 [rows, attributes].
    """

    names: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]
    codes: NDArray[np.int32]

    def __post_init__(self) -> None:
        codes = np.asarray(self.codes)
        if codes.ndim != 2 or codes.shape[1] != len(self.names) or len(self.values) != len(self.names):
            raise DataError(f"attributes {self.names!r}: {len(self.values)!r} lists of values, codes {codes.shape!r}")
        if len(set(self.names)) < len(self.names):
            raise DataError(f"an attribute stands twice in {self.names!r}", "name each once")
        for column, (name, values) in enumerate(zip(self.names, self.values, strict=True)):
            if not values or values[0] != UNKNOWN or len(set(values)) < len(values):
                raise DataError(
                    f"values of attribute {name!r} are {values[:5]!r}, ...", "the empty one first, each once"
                )
            own = codes[:, column]
            if len(own) and not 0 <= own.min() <= own.max() < len(values):
                raise DataError(
                    f"codes of attribute {name!r} are {own.min()} to {own.max()}, it has {len(values)} values"
                )
        codes = codes.astype(np.int32)
        codes.flags.writeable = False
        object.__setattr__(self, "codes", codes)

    @classmethod
    def encode(cls, rows: Sequence[Mapping[str, str]], names: Sequence[str]) -> Attributes:
        """Attributes from their texts; values are coded in sorted order, one that is absent or empty as 0."""
        values = tuple((UNKNOWN, *sorted({row.get(name, UNKNOWN) for row in rows} - {UNKNOWN})) for name in names)
        places = [{value: code for code, value in enumerate(own)} for own in values]
        codes = [[place[row.get(name, UNKNOWN)] for name, place in zip(names, places, strict=True)] for row in rows]
        return cls(tuple(names), values, np.array(codes, dtype=np.int32).reshape(len(rows), len(names)))

    @property
    def sizes(self) -> dict[str, int]:
        """The number of codes of each attribute."""
        return {name: len(values) for name, values in zip(self.names, self.values, strict=True)}

    def of(self, name: str) -> NDArray[np.int32]:
        """The codes of one attribute, [rows]; raises DataError where there is none of that name."""
        if name not in self.names:
            raise DataError(f"no attribute {name!r}", f"there are {', '.join(self.names)}")
        return self.codes[:, self.names.index(name)]

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) over names, values and codes."""
        state = hashlib.sha256(json.dumps([self.names, self.values], ensure_ascii=False).encode())
        state.update(self.codes.astype("<i4").tobytes())
        return state.hexdigest()
