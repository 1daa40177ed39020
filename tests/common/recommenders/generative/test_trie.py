from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from common.errors import DataError
from common.recommenders.generative.titles import Titles
from common.recommenders.generative.trie import NOWHERE, TitleTrie, TrieProcessor

END = (7, 1)
ROWS = st.lists(st.lists(st.integers(2, 8), min_size=1, max_size=5), min_size=1, max_size=12)


def titles(rows: list[list[int]]) -> Titles:
    return Titles(np.array([token for row in rows for token in row], np.int64), np.cumsum([0, *map(len, rows)]))


def following(rows: list[list[int]], prefix: list[int]) -> set[int]:
    """By definition: what stands after the prefix in a title with its end."""
    whole = [[*row, *END] for row in rows]
    return {row[len(prefix)] for row in whole if len(row) > len(prefix) and row[: len(prefix)] == prefix}


@given(ROWS, st.lists(st.integers(0, 9), max_size=6))
def test_what_may_follow_a_prefix_is_what_follows_it_in_the_titles(rows: list[list[int]], stray: list[int]) -> None:
    trie = TitleTrie(titles(rows), END)
    prefixes = [[*row, *END][:cut] for row in rows for cut in range(len(row) + 3)] + [stray]
    for prefix in prefixes:
        assert trie.allowed(prefix) == (sorted(following(rows, prefix)) or [1])
    assert len(trie) == 1 + len({tuple([*row, *END][:cut]) for row in rows for cut in range(1, len(row) + 3)})


@given(ROWS, st.lists(st.integers(0, 9), max_size=6))
def test_a_title_leads_to_all_its_items(rows: list[list[int]], stray: list[int]) -> None:
    trie = TitleTrie(titles(rows), END)
    for row in [*rows, stray]:
        assert trie.items(row) == tuple(item for item, other in enumerate(rows) if other == row)
    padded = np.full((len(rows), 12), 0, np.int64)
    for place, row in enumerate(rows):
        padded[place, : len(row) + 2] = [*row, *END]
    assert [trie.items_at(node) for node in trie.walk(padded)] == [trie.items(row) for row in rows]


@given(ROWS, st.data())
def test_exhausted_nodes_lead_to_barred_items_only(rows: list[list[int]], data: st.DataObject) -> None:
    trie = TitleTrie(titles(rows), END)
    barred = data.draw(st.lists(st.integers(0, len(rows) - 1)))
    left = [row for item, row in enumerate(rows) if item not in barred]
    prefixes = {tuple([*row, *END][:cut]) for row in rows for cut in range(1, len(row) + 3)}
    expected = {prefix for prefix in prefixes if not any((*row, *END)[: len(prefix)] == prefix for row in left)}
    nodes = {int(trie.walk(np.array([prefix]))[0]) for prefix in expected}
    assert set(trie.exhausted(barred).tolist()) == nodes


@given(ROWS, st.data())
def test_the_processor_leaves_what_may_follow_as_it_was(rows: list[list[int]], data: st.DataObject) -> None:
    trie = TitleTrie(titles(rows), END)
    barred = data.draw(st.lists(st.lists(st.integers(0, len(rows) - 1)), min_size=2, max_size=2))
    cut = data.draw(st.integers(0, 4))
    beams = [[*data.draw(st.sampled_from(rows)), *END, 0, 0, 0][:cut] for _ in range(6)]  # three for each of two users
    ids = torch.tensor([[5, 5, *beam] for beam in beams], dtype=torch.int64)
    scores = torch.randn(6, 10)
    kept = TrieProcessor(trie, 2, barred)(ids, scores)
    for row, beam in enumerate(beams):
        left = [title for item, title in enumerate(rows) if item not in barred[row // 3]]
        open_tokens = sorted(following(left, beam))
        assert torch.equal(kept[row, open_tokens], scores[row, open_tokens])
        assert int(kept[row].isfinite().sum()) == len(open_tokens)


def test_a_row_outside_the_trie_is_nowhere_and_goes_nowhere() -> None:
    trie = TitleTrie(titles([[2, 3], [2]]), END)
    assert trie.walk(np.array([[4, 2], [2, -3], [2, 10**9]])).tolist() == [NOWHERE] * 3
    assert TrieProcessor(trie, 0)(torch.tensor([[4, 2]]), torch.zeros(1, 9)).isneginf().all()
    assert trie.items_at(NOWHERE) == ()


def test_no_titles_and_a_title_with_an_end_of_sequence_are_refused() -> None:
    with pytest.raises(DataError, match="no titles"):
        TitleTrie(titles([]), END)
    with pytest.raises(DataError, match="token 1"):
        TitleTrie(titles([[2, 1, 3]]), END)
