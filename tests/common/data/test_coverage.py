from __future__ import annotations

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.data.coverage import Coverage
from common.data.interactions import Interactions
from common.data.split import Part, cases, split
from common.errors import DataError
from tests.common.data.strategies import interactions


@hypothesis.settings(deadline=None, max_examples=60)
@given(interactions(), st.sampled_from(["leave-last-out", "global-time"]))
def test_every_user_is_counted_once_and_the_tested_are_those_of_the_cases(known: Interactions, how: str) -> None:
    parts = split(known, how)
    found, judged = Coverage.of(known, parts), cases(known, parts, Part.TEST)
    users = {int(user): known.items[known.of_user(user)] for user in np.unique(known.users)}
    assert found.tested + found.met_before + found.untried == len(users)
    assert found.tested == len(judged)
    again = 0
    for user, items in users.items():
        own = parts[known.of_user(user)]
        before, later = set(items[own < Part.TEST].tolist()), set(items[own == Part.TEST].tolist())
        again += bool(before and later and later <= before)
    assert found.met_before == again
    train = known.users[parts == Part.TRAIN].tolist()
    assert found.learners == sum(train.count(user) >= 2 for user in users)


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ((3, 0, 0, 3), ""),
        (
            (0, 2, 1, 3),
            "no user of data set 'shop' can be tested by split 'x': 2 had their test items before, 1 have no history",
        ),
        ((0, 0, 0, 0), "it has none"),
        ((3, 0, 0, 0), "no user of data set 'shop' has two training interactions by split 'x'"),
    ],
)
def test_a_set_is_refused_for_want_of_users_to_test_or_to_learn_from(counts: tuple, said: str) -> None:
    found = Coverage(*counts)
    if not said:
        return found.check("shop", "x")
    with pytest.raises(DataError, match=said):
        found.check("shop", "x")


def test_the_counts_in_words() -> None:
    assert str(Coverage(5, 0, 0, 5)) == "5 of 5 users can be tested"
    assert str(Coverage(5, 2, 1, 5)) == (
        "5 of 8 users can be tested; 2 had their test items before, 1 have no history or no test item"
    )
