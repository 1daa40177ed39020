"""Filters of a data set: its n-core, its most popular items."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from common.data.dataset import Dataset
from common.data.interactions import Interactions
from common.errors import ConfigError, DataError

LEAST = 2  # a user with fewer interactions has no next item to learn or to be judged on


@dataclass(frozen=True)
class Filters:
    """What is kept of a data set when it is prepared; 0 leaves a filter out.

    Parameters
    ----------
    core : users and items with fewer interactions go, again and again, until all that are left have this many.
    top_items : only the most popular items stay, by their number of interactions, the earlier in the catalogue first
        where two have the same. Users left with fewer than 2 interactions go. The core is taken before (so that
        popularity is counted in it) and again after (so that it holds for what is left).
    """

    core: int = 0
    top_items: int = 0

    def __post_init__(self) -> None:
        if self.core < 0 or self.core == 1:
            raise ConfigError(f"core is {self.core!r}", "give 0 for all interactions, or 2 and more")
        if self.top_items < 0 or self.top_items == 1:
            raise ConfigError(f"top_items is {self.top_items!r}", "give 0 for all items, or 2 and more")

    @property
    def suffix(self) -> str:
        """What the name of a filtered set ends with unless it is given another: ``-core5-top1000``."""
        return f"-core{self.core}" * bool(self.core) + f"-top{self.top_items}" * bool(self.top_items)

    def words(self) -> tuple[str, ...]:
        """The filters in words, in the order in which they are applied."""
        core = f"its {self.core}-core (users and items with {self.core} or more interactions)"
        top = f"its most popular {self.top_items} items"
        return (core,) * bool(self.core) + (top,) * bool(self.top_items)

    def apply(self, dataset: Dataset) -> Dataset:
        """The filtered set; users, items and interactions keep their order.

        Items that are filtered out leave the catalogue, as do those that nobody met. Raises DataError where there are
        fewer items than asked for, or nothing is left, or the set is split already.
        """
        if not self.words():
            return dataset
        if dataset.parts is not None:
            raise DataError(f"data set {dataset.name!r} is split already", "filter it before it is split")
        known = dataset.interactions
        kept = np.ones(len(known), dtype=bool)
        if self.core:
            kept = core(known, kept, self.core)
        if self.top_items:
            kept = _top(dataset.name, known, kept, self.top_items)
            kept = core(known, kept, self.core) if self.core else kept & _enough(known.users, kept, LEAST)
        if not kept.any():
            raise DataError(
                f"nothing of data set {dataset.name!r} is left: {', '.join(self.words())}",
                "ask for less in the filters",
            )
        return _only(dataset, kept, self.words())


def core(known: Interactions, kept: NDArray[np.bool_], least: int) -> NDArray[np.bool_]:
    """bool [n]: of the interactions kept so far, those whose user and item have ``least`` of them or more.

    Repeated until nothing goes: the largest such set, whatever the order in which users and items are looked at.
    """
    while True:
        fewer = kept & _enough(known.items, kept, least)
        fewer &= _enough(known.users, fewer, least)
        if fewer.sum() == kept.sum():
            return kept
        kept = fewer


def _top(name: str, known: Interactions, kept: NDArray[np.bool_], items: int) -> NDArray[np.bool_]:
    counts = np.bincount(known.items[kept])
    there = int((counts > 0).sum())
    if items > there:
        raise DataError(
            f"top_items is {items!r}, and {there} items of data set {name!r} have interactions",
            f"ask for {there} at most, or leave the filter out",
        )
    # A stable sort of the negated counts puts the earlier of two equally popular items first.
    return kept & np.isin(known.items, np.argsort(-counts, kind="stable")[:items])


def _enough(values: NDArray[np.integer], kept: NDArray[np.bool_], least: int) -> NDArray[np.bool_]:
    counts = np.bincount(values[kept], minlength=int(values.max(initial=-1)) + 1)
    enough: NDArray[np.bool_] = (counts >= least)[values]
    return enough


def _only(dataset: Dataset, kept: NDArray[np.bool_], words: tuple[str, ...]) -> Dataset:
    known = dataset.interactions
    users, user_positions = np.unique(known.users[kept], return_inverse=True)
    items, item_positions = np.unique(known.items[kept], return_inverse=True)
    return replace(
        dataset,
        catalogue=dataset.catalogue.subset(items),
        interactions=Interactions(
            tuple(known.user_keys[user] for user in users),
            user_positions.astype(np.int32),
            item_positions.astype(np.int32),
            None if known.times is None else known.times[kept],
        ),
        source="; ".join((dataset.source.rstrip("."), *words)),
        filters=(*dataset.filters, *words),
    )
