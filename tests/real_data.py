"""Real data for tests: a folder beside the checkout, never a part of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]


def real_data(name: str) -> Path:
    """The raw folder of a real data set; skips the test, with the reason, where there is none.

    Looked for in ``$FELLREC_TEST_DATA`` and in ``../shared/data`` beside the checkout.
    """
    roots = [Path(os.environ["FELLREC_TEST_DATA"])] if os.environ.get("FELLREC_TEST_DATA") else []
    roots.append(CHECKOUT.parent / "shared" / "data")
    for root in roots:
        if (root / name).is_dir():
            return root / name
    pytest.skip(f"real data {name!r} is not here; point $FELLREC_TEST_DATA to a folder that holds it")
