from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import DataError
from common.recommenders.encoder.text import (
    ItemTexts,
    Special,
    compose,
    item_text,
    special_tokens,
    tokenise_items,
)
from tests.common.recommenders.tiny import WORDS, tokenizer

ITEMS = [{"title": "red fox", "category": "bear"}, {"title": "blue owl"}, {"title": "green", "category": ""}]
SPECIAL = Special((1,), (2,), 0)


def words(row: list[int]) -> str:
    return " ".join(WORDS[token] for token in row)


def test_an_items_text_is_its_attributes_in_order_without_empty_ones() -> None:
    assert item_text(ITEMS[0]) == "title: red fox category: bear"
    assert item_text(ITEMS[2]) == "title: green"


def test_special_tokens_are_read_off_the_tokenizer() -> None:
    assert special_tokens(tokenizer()) == SPECIAL


def test_item_tokens_are_the_tokens_of_the_items_text() -> None:
    texts = tokenise_items(ITEMS, tokenizer(), 32)
    for position, attributes in enumerate(ITEMS):
        tokens = texts.tokens[texts.offsets[position] : texts.offsets[position + 1]]
        assert tokens.tolist() == tokenizer()(item_text(attributes), add_special_tokens=False)["input_ids"]
    assert texts.kinds.tolist() == [1, 1, 2, 2, 1, 1, 2] + [1, 1, 2, 2] + [1, 1, 2]
    assert texts.lengths.tolist() == [7, 4, 3]
    assert len(texts) == 3


def test_a_long_item_is_cut_and_the_next_one_is_whole() -> None:
    texts = tokenise_items(ITEMS, tokenizer(), 3)
    assert texts.lengths.tolist() == [3, 3, 3]
    assert words(texts.tokens[3:6].tolist()) == "title : blue"


def test_an_item_without_text_is_refused() -> None:
    with pytest.raises(DataError, match="item 1 has no text"):
        tokenise_items([{"title": "red"}, {"title": ""}], tokenizer(), 8)


def test_a_user_is_the_items_newest_first_between_special_tokens() -> None:
    texts = tokenise_items(ITEMS, tokenizer(), 32)
    batch = compose([[0, 1], [2]], texts, SPECIAL, history=5, max_tokens=40)
    assert words(batch.input_ids[0].tolist()) == "[CLS] title : blue owl title : red fox category : bear [SEP]"
    assert words(batch.input_ids[1].tolist()) == "[CLS] title : green [SEP]" + " [PAD]" * 8
    assert batch.attention_mask[1].tolist() == [1] * 5 + [0] * 8
    assert batch.kinds[0].tolist() == [0, 1, 1, 2, 2, 1, 1, 2, 2, 1, 1, 2, 0]
    assert batch.kinds[1].tolist() == [0, 1, 1, 2, 0] + [3] * 8
    assert batch.items[0].tolist() == [0, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 0]
    assert batch.items[1].tolist() == [0, 1, 1, 1, 0] + [0] * 8


def test_only_the_last_items_of_a_history_are_read() -> None:
    texts = tokenise_items(ITEMS, tokenizer(), 32)
    batch = compose([[0, 0, 1, 2]], texts, SPECIAL, history=2, max_tokens=40)
    assert words(batch.input_ids[0].tolist()) == "[CLS] title : green title : blue owl [SEP]"


def test_an_older_item_that_does_not_fit_whole_ends_the_sequence_even_where_a_shorter_one_would_fit() -> None:
    texts = tokenise_items(ITEMS, tokenizer(), 32)
    batch = compose([[2, 0, 1]], texts, SPECIAL, history=3, max_tokens=10)
    assert words(batch.input_ids[0].tolist()) == "[CLS] title : blue owl [SEP]"


@pytest.mark.parametrize("history", [[], [3], [-1, 0]])
def test_a_history_must_hold_items_of_the_catalogue(history: list[int]) -> None:
    texts = tokenise_items(ITEMS, tokenizer(), 32)
    with pytest.raises(DataError, match="catalogue of 3"):
        compose([history], texts, SPECIAL, history=3, max_tokens=40)


def test_room_for_less_than_the_newest_item_is_refused() -> None:
    texts = tokenise_items(ITEMS, tokenizer(), 32)
    with pytest.raises(DataError, match="max_tokens 8 leaves no room"):
        compose([[0]], texts, SPECIAL, history=3, max_tokens=8)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_composition_equals_the_plain_one_for_any_histories(data: st.DataObject) -> None:
    lengths = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=8))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    texts = ItemTexts(np.arange(10, 10 + offsets[-1]), np.full(offsets[-1], 2), offsets)
    item = st.integers(0, len(lengths) - 1)
    histories = data.draw(st.lists(st.lists(item, min_size=1, max_size=9), min_size=1, max_size=5))
    limit, room = data.draw(st.integers(1, 9)), data.draw(st.integers(8, 30))
    batch = compose(histories, texts, SPECIAL, limit, room)
    for row, history in enumerate(histories):
        expected: list[int] = [1]
        for newest in history[::-1][:limit]:
            tokens = texts.tokens[offsets[newest] : offsets[newest + 1]].tolist()
            if len(expected) + len(tokens) + 1 > room:
                break
            expected += tokens
        expected.append(2)
        assert batch.input_ids[row][batch.attention_mask[row].bool()].tolist() == expected
    assert batch.input_ids.shape[1] <= room
