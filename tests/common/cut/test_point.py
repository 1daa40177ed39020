from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.cut import Cut
from common.errors import ModelError
from tests.common.cut.tiny import tiny_config

BERT = tiny_config("bert")


@given(st.integers(-3, 9), st.integers(-3, 9))
def test_a_cut_is_taken_just_when_every_layer_has_a_side_and_the_server_one(k: int, m: int) -> None:
    cut = Cut(k, m)
    if k >= 0 and m >= 0 and k + m <= 4:
        cut.check(BERT)
        assert [*range(k), *cut.middle(5), *range(5 - m, 5)] == list(range(5))
        assert len(cut.middle(5)) >= 1
    else:
        with pytest.raises(ModelError):
            cut.check(BERT)


@pytest.mark.parametrize(
    ("cut", "nearest"),
    [
        (Cut(-1, 2), "k=0, m=2"),
        (Cut(1, -4), "k=1, m=0"),
        (Cut(4, 1), "k=3, m=1"),
        (Cut(0, 7), "k=0, m=4"),
        (Cut(9, 0), "k=4, m=0"),
    ],
)
def test_an_impossible_cut_is_refused_with_the_nearest(cut: Cut, nearest: str) -> None:
    with pytest.raises(ModelError, match=f"k={cut.k}, m={cut.m}.*5 layers.*nearest cut is {nearest}"):
        cut.check(BERT)


@pytest.mark.parametrize("value", [True, 1.0, "1", None])
def test_a_cut_is_of_integers(value: object) -> None:
    with pytest.raises(ModelError, match="m="):
        Cut(1, value).check(BERT)
