"""Small made-up data for property tests."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from common.data.catalogue import Catalogue
from common.data.dataset import Dataset
from common.data.interactions import Interactions

USERS, ITEMS = 6, 7


@st.composite
def interactions(draw: st.DrawFn, timed: bool = True, least: int = 0) -> Interactions:
    """Up to 40 rows in any order, repeats and users without rows included."""
    row = st.tuples(st.integers(0, USERS - 1), st.integers(0, ITEMS - 1), st.integers(0, 30))
    rows = np.array(draw(st.lists(row, min_size=least, max_size=40)), dtype=np.int64).reshape(-1, 3)
    keys = tuple(f"u{user}" for user in range(USERS))
    return Interactions(keys, rows[:, 0], rows[:, 1], rows[:, 2] if timed else None)


def catalogue(items: int = ITEMS) -> Catalogue:
    return Catalogue("toy", tuple(f"i{i}" for i in range(items)), tuple({"title": f"Title {i}"} for i in range(items)))


def dataset(known: Interactions, items: int = ITEMS) -> Dataset:
    return Dataset("toy", catalogue(items), known, generated=True, licence="none", source="a test")
