"""Whom a split of a data set covers: who can be tested, and learned from, and why others cannot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.data.interactions import Interactions
from common.data.split import Part, new_items
from common.errors import DataError


@dataclass(frozen=True)
class Coverage:
    """Users counted by what a split leaves of them; the first three add up to all users with interactions.

    Parameters
    ----------
    tested : users with a history and a new item in the test part.
    met_before : users all of whose test items were in their history: nothing is left to find.
    untried : users with no test item, or nothing before it.
    learners : users with two training interactions or more; the others give no example.
    """

    tested: int
    met_before: int
    untried: int
    learners: int

    @classmethod
    def of(cls, interactions: Interactions, parts: NDArray[np.int8]) -> Coverage:
        """Count the users of interactions with their parts (int8 [n])."""
        users = interactions.users
        later, before = np.unique(users[parts == Part.TEST]), np.unique(users[parts < Part.TEST])
        found = np.unique(users[new_items(interactions, parts, Part.TEST)])
        tried = np.intersect1d(later, before)
        tested = len(np.intersect1d(found, before))
        return cls(
            tested=tested,
            met_before=len(tried) - tested,
            untried=len(np.unique(users)) - len(tried),
            learners=int((np.bincount(users[parts == Part.TRAIN]) >= 2).sum()),
        )

    def left_out(self) -> str:
        """The users who cannot be tested, by reason; empty where all can."""
        counts = {"had their test items before": self.met_before, "have no history or no test item": self.untried}
        return ", ".join(f"{count} {reason}" for reason, count in counts.items() if count)

    def __str__(self) -> str:
        told = f"{self.tested} of {self.tested + self.met_before + self.untried} users can be tested"
        return f"{told}; {self.left_out()}" if self.left_out() else told

    def check(self, name: str, split: str) -> None:
        """Raise DataError where nobody of the data set ``name`` can be tested, or learned from, by this split."""
        if not self.tested:
            raise DataError(
                f"no user of data set {name!r} can be tested by split {split!r}: {self.left_out() or 'it has none'}",
                "a user needs an item at the end that is not in the user's history: give longer histories, or leave out"
                " interactions that repeat earlier ones",
            )
        if not self.learners:
            raise DataError(
                f"no user of data set {name!r} has two training interactions by split {split!r}",
                "give longer histories: by 'leave-last-out' four interactions of a user",
            )
