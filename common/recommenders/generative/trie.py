"""All titles of a catalogue as one trie of token ids, and beams that never leave it.

The trie is a few arrays: a child is found by bisection in its parent's sorted edges, for all rows of a batch at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import LogitsProcessor

from common.errors import DataError
from common.recommenders.generative.titles import Titles
from common.recommenders.recommender import Items

NOWHERE = -1
"""The node of a prefix that begins no title."""


class TitleTrie:
    """Titles, each followed by ``end_ids`` (closing quote and end of sequence); the root is node 0.

    Because every title has its end, one may be the beginning of another. Items of the same title share a leaf.

    Raises
    ------
    DataError : there are no titles, or one holds the token that ends a sequence.
    """

    def __init__(self, titles: Titles, end_ids: Sequence[int]) -> None:
        if not len(titles):
            raise DataError("the catalogue has no titles", "give it at least one item")
        if np.isin(titles.tokens, end_ids[-1]).any():
            raise DataError(f"a title holds the token {end_ids[-1]!r}, which ends a sequence")
        self.end_ids = tuple(int(token) for token in end_ids)
        rows_NL = _rows(titles, self.end_ids)
        order = np.lexsort(rows_NL.T[::-1])
        sorted_NL = rows_NL[order]
        # a row makes a node wherever it leaves the row above it
        fresh_NL = np.ones(sorted_NL.shape, bool)
        fresh_NL[1:] = np.logical_or.accumulate(sorted_NL[1:] != sorted_NL[:-1], axis=1)
        fresh_NL &= sorted_NL >= 0
        # numbered depth by depth, so that a node's children are next to each other
        nodes_NL = np.cumsum(fresh_NL.T.ravel()).reshape(fresh_NL.shape[::-1]).T
        parents_NL = np.concatenate([np.zeros((len(nodes_NL), 1), np.int64), nodes_NL[:, :-1]], axis=1)
        made = fresh_NL.T.ravel()
        # edge e leads to node e + 1
        self._tokens, self._parents = sorted_NL.T.ravel()[made], parents_NL.T.ravel()[made]
        self._width = int(self._tokens.max()) + 1
        self._keys = self._parents * self._width + self._tokens
        self._starts = np.searchsorted(self._parents, np.arange(len(self) + 1))
        self._paths = np.empty_like(nodes_NL)
        self._paths[order] = np.where(sorted_NL >= 0, nodes_NL, NOWHERE)
        self._lengths = (rows_NL >= 0).sum(axis=1)
        leaves = self._paths[np.arange(len(titles)), self._lengths - 1]
        by_leaf = np.argsort(leaves, kind="stable")
        self._leaves, self._items = leaves[by_leaf], by_leaf
        self._below = self._passing(np.arange(len(titles)))

    def __len__(self) -> int:
        """Nodes, the root among them."""
        return len(self._tokens) + 1

    def walk(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """The node of each row, int64 [R], after its tokens, int64 [R, T] from the root; :data:`NOWHERE` outside the trie.

        A row that has reached a title's end stays there, whatever padding follows.
        """
        nodes = np.zeros(len(ids), np.int64)
        for token in ids.T:
            asked = nodes * self._width + token
            places = np.minimum(np.searchsorted(self._keys, asked), len(self._keys) - 1)
            known = (self._keys[places] == asked) & (nodes >= 0) & (token >= 0) & (token < self._width)
            nodes = np.where(known, places + 1, np.where(self._ended(nodes), nodes, NOWHERE))
        return nodes

    def edges(self, nodes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Every token that may follow: the row it belongs to and the token, int64 [E] each."""
        at = np.maximum(nodes, 0)
        starts, counts = self._starts[at], np.where(nodes >= 0, self._starts[at + 1] - self._starts[at], 0)
        rows = np.repeat(np.arange(len(nodes)), counts)
        within = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        return rows, self._tokens[np.repeat(starts, counts) + within]

    def allowed(self, prefix_ids: Sequence[int]) -> list[int]:
        """The tokens that may follow a prefix, ascending; the end of sequence after a whole title or outside the trie.

        As ``prefix_allowed_tokens_fn`` of ``generate`` asks for it, once the prompt is cut off.
        """
        _, tokens = self.edges(self.walk(np.asarray([list(prefix_ids)], np.int64)))
        return tokens.tolist() or [self.end_ids[-1]]

    def items(self, ids: Sequence[int]) -> tuple[int, ...]:
        """All items with exactly this title, ascending; ``ids`` without the end."""
        (node,) = self.walk(np.asarray([[*ids, *self.end_ids]], np.int64))
        return self.items_at(int(node)) if self.end_ids[-1] not in ids else ()

    def items_at(self, node: int) -> tuple[int, ...]:
        """All items whose title ends at a node, ascending."""
        first, last = np.searchsorted(self._leaves, [node, node + 1])
        return tuple(self._items[first:last].tolist())

    def exhausted(self, items: Items) -> NDArray[np.int64]:
        """Nodes, ascending, that lead to nothing but ``items``: no beam without these items goes there."""
        counts = self._passing(np.unique(np.asarray(items, np.int64)))
        return np.flatnonzero((counts > 0) & (counts == self._below))

    def into(self, nodes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where each node, not the root, is entered from: its parent and the token, int64 [N] each."""
        return self._parents[nodes - 1], self._tokens[nodes - 1]

    def _passing(self, items: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many of ``items`` lie below each node."""
        paths = self._paths[items]
        return np.bincount(paths[paths >= 0], minlength=len(self))

    def _ended(self, nodes: NDArray[np.int64]) -> NDArray[np.bool_]:
        at = np.maximum(nodes, 0)
        ended: NDArray[np.bool_] = (nodes >= 0) & (self._starts[at + 1] == self._starts[at])
        return ended


class TrieProcessor(LogitsProcessor):
    """Leaves each beam the scores of the tokens that continue a title; minus infinity for all others.

    A beam's place is found from its ids alone, so that it does not matter how ``generate`` reorders its beams.

    Parameters
    ----------
    trie : TitleTrie
        The titles that may be spelled.
    prompt : int
        Tokens of the (padded) prompt that each row begins with.
    barred : Sequence of Items or None
        For each user the items that no beam may spell, or None where all may be; an item stays open while another of
        the same title is.
    """

    def __init__(self, trie: TitleTrie, prompt: int, barred: Sequence[Items] | None = None) -> None:
        self._trie, self._prompt = trie, prompt
        shut = [trie.exhausted(items) for items in (() if barred is None else barred)]
        self._users = len(shut)
        self._rows = np.repeat(np.arange(len(shut)), [len(nodes) for nodes in shut])
        self._parents, self._tokens = trie.into(np.concatenate(shut)) if shut else (np.empty(0, np.int64),) * 2

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Scores [R, V] for rows of ids [R, T]: a user's beams are next to each other."""
        nodes = self._trie.walk(input_ids[:, self._prompt :].cpu().numpy())
        places, row_places = np.unique(nodes, return_inverse=True)
        rows, tokens = self._trie.edges(places)
        known = np.zeros((len(places), scores.shape[1]), bool)
        known[rows, tokens] = True
        open_RV = known[row_places.ravel()]
        if self._users:
            beams = np.arange(len(nodes)).reshape(self._users, -1)
            for beam_rows in beams.T:
                met = nodes[beam_rows[self._rows]] == self._parents
                open_RV[beam_rows[self._rows[met]], self._tokens[met]] = False
        return scores.masked_fill(~torch.from_numpy(open_RV).to(scores.device), -torch.inf)


def _rows(titles: Titles, end: tuple[int, ...]) -> NDArray[np.int64]:
    """Every title with its end, padded with -1, int64 [n, longest]."""
    lengths = titles.lengths
    rows_NL = np.full((len(titles), int(lengths.max()) + len(end)), -1, np.int64)
    items = np.repeat(np.arange(len(titles)), lengths)
    within = np.arange(len(titles.tokens)) - np.repeat(titles.offsets[:-1], lengths)
    rows_NL[items, within] = titles.tokens
    for place, token in enumerate(end):
        rows_NL[np.arange(len(titles)), lengths + place] = token
    return rows_NL
