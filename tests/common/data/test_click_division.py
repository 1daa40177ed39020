from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.data.click_division import divide, fingerprint, vocabulary
from common.errors import DataError
from tests.clicks import USERS, tiny_log

LOG = tiny_log()


@given(st.integers(1, USERS - 1), st.integers(0, 2**31))
def test_every_user_is_open_or_a_client(count: int, seed: int) -> None:
    found = divide(LOG, count / USERS, seed)
    assert len(found.open) == count
    np.testing.assert_array_equal(np.sort(np.concatenate([found.open, found.clients])), np.arange(USERS))


def test_the_seed_alone_decides() -> None:
    first, again, other = (divide(LOG, 0.5, seed).open.tolist() for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize("share", [0.001, 0.999])
def test_nobody_on_one_side_is_refused(share: float) -> None:
    with pytest.raises(DataError, match="choose a share"):
        divide(LOG, share, 0)


def test_a_part_of_a_log_has_its_vocabulary_and_another_log_has_not() -> None:
    assert vocabulary(LOG.restrict([3], "one")) == vocabulary(LOG)
    assert vocabulary(LOG) == vocabulary(tiny_log(seed=1))
    assert fingerprint("d", "a") != fingerprint("d", "b") != fingerprint("e", "b") and len(fingerprint("d", "a")) == 16
