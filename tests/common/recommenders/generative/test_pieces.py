from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast

from common.recommenders.generative.pieces import Pieces
from tests.common.recommenders.causal import TITLES, byte_level, metaspace

TOKENIZERS = {
    "byte-level": byte_level(),
    "byte-level with a space": byte_level(prefix_space=True),
    "metaspace": metaspace(),
}
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zs", "Zl", "Zp")), min_size=1, max_size=12)


@pytest.fixture(params=TOKENIZERS, ids=str)
def tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerFast:
    return TOKENIZERS[request.param]


@settings(max_examples=60, deadline=None)
@given(parts=st.lists(TEXT, min_size=1, max_size=4))
@pytest.mark.parametrize("name", TOKENIZERS)
def test_pieces_stand_side_by_side_as_their_texts_do(name: str, parts: list[str]) -> None:
    tokenizer, pieces = TOKENIZERS[name], Pieces(TOKENIZERS[name])
    (first,) = pieces.first(["#"])
    ids = [*first, *(token for piece in pieces.inner(parts) for token in piece)]
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False).lstrip() == "#" + "".join(parts)


def test_a_piece_has_the_same_ids_whatever_else_is_asked_for(tokenizer: PreTrainedTokenizerFast) -> None:
    pieces = Pieces(tokenizer)
    assert pieces.inner(TITLES) == [pieces.inner([title])[0] for title in TITLES]
    assert pieces.inner([]) == pieces.first([]) == []


def test_a_special_token_s_name_in_a_text_is_text(tokenizer: PreTrainedTokenizerFast) -> None:
    (ids,) = Pieces(tokenizer).inner(["</s>"])
    assert tokenizer.eos_token_id not in ids
    assert len(ids) > 1


def test_the_space_that_a_tokenizer_adds_is_known() -> None:
    assert [Pieces(tokenizer).adds_space for tokenizer in TOKENIZERS.values()] == [False, True, True]
