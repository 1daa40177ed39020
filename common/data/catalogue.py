"""The catalogue: the items that can be recommended, with their text."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from common.errors import DataError


@dataclass(frozen=True)
class Catalogue:
    """Items in a fixed order; an item's position is the number that stands for it everywhere else.

    Parameters
    ----------
    name : the data set's name.
    keys : the source's own item ids, unique.
    items : the attributes of each item, "title" first; decoded, non-empty text.
    """

    name: str
    keys: tuple[str, ...]
    items: tuple[Mapping[str, str], ...]

    def __post_init__(self) -> None:
        if len(self.keys) != len(self.items):
            raise DataError(f"catalogue {self.name!r} has {len(self.keys)} keys for {len(self.items)} items")
        if len(self._positions) != len(self.keys):
            raise DataError(f"catalogue {self.name!r} holds an item key twice", "keep one item for each key")
        for key, item in zip(self.keys, self.items, strict=True):
            if next(iter(item), None) != "title" or not item["title"]:
                raise DataError(
                    f"item {key!r} of catalogue {self.name!r} has no title as its first attribute: {dict(item)!r}"
                )

    def __len__(self) -> int:
        return len(self.keys)

    @cached_property
    def titles(self) -> tuple[str, ...]:
        """The title of each item, in order."""
        return tuple(item["title"] for item in self.items)

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {key: position for position, key in enumerate(self.keys)}

    def position(self, key: str) -> int:
        """The position of the item with this key; raises DataError, naming the nearest key, where there is none."""
        try:
            return self._positions[key]
        except KeyError:
            near = difflib.get_close_matches(key, self.keys, n=1, cutoff=0.0)
            hint = f"the nearest key is {near[0]!r}" if near else "the catalogue is empty"
            raise DataError(f"catalogue {self.name!r} has no item {key!r}", hint) from None

    def subset(self, positions: Iterable[int]) -> Catalogue:
        """The catalogue of these items only, in the order given."""
        chosen = [int(position) for position in positions]
        return Catalogue(self.name, tuple(self.keys[p] for p in chosen), tuple(self.items[p] for p in chosen))

    def lines(self) -> Iterable[str]:
        """One JSON object an item, key and attributes in order: the form it is stored and digested in."""
        for key, item in zip(self.keys, self.items, strict=True):
            yield json.dumps({"key": key, "attributes": dict(item)}, ensure_ascii=False) + "\n"

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) over keys and attributes; the name does not count."""
        state = hashlib.sha256()
        for line in self.lines():
            state.update(line.encode())
        return state.hexdigest()
