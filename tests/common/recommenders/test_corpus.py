"""The corpus is a function of the catalogue's text alone, and its lists are of titles that are alike."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.data.catalogue import Catalogue
from common.data.dataset import Dataset
from common.data.interactions import Interactions
from common.data.sample import generate
from common.errors import DataError
from common.recommenders.corpus import NEAR, Corpus

GAMES = (
    {"title": "Halo 3 - Xbox 360", "brand": "Microsoft"},
    {"title": "Halo Reach - Xbox 360", "brand": "Microsoft"},
    {"title": "Mario Kart Wii", "brand": "Nintendo"},
    {"title": "Mario Party Wii", "brand": "Nintendo"},
    {"title": "Pokémon Y", "brand": "Nintendo"},
    {"title": "Headset", "brand": "Turtle, Microsoft"},
)


def catalogue(items: tuple[dict[str, str], ...] = GAMES, name: str = "games") -> Catalogue:
    return Catalogue(name, tuple(f"key-{place}" for place in range(len(items))), items)


def dataset(pairs: list[tuple[int, int]]) -> Dataset:
    users, items = np.array(pairs, np.int32).T
    keys = tuple(f"user-{user}" for user in range(int(users.max()) + 1))
    interactions = Interactions(keys, users, items, np.arange(len(users), dtype=np.int64))
    return Dataset("games", catalogue(), interactions, True, "none", "made up")


def drawn(corpus: Corpus, seed: int = 0) -> list[list[int]]:
    return corpus.lists(50, 4, np.random.default_rng(seed))


def test_other_interactions_give_the_same_bytes() -> None:
    one, other = dataset([(0, 0), (0, 1), (1, 2)]), dataset([(0, 5), (1, 5), (2, 5), (2, 4)])
    assert one.digest != other.digest
    first, second = Corpus.of([one.catalogue]), Corpus.of([other.catalogue])
    assert first == second and first.digest == second.digest and drawn(first) == drawn(second)


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(len(GAMES))))
def test_neither_order_nor_keys_nor_name_of_a_catalogue_count(order: list[int]) -> None:
    known, mixed = Corpus.of([catalogue()]), Corpus.of([catalogue(tuple(GAMES[item] for item in order), "other")])
    assert mixed == known and mixed.digest == known.digest and drawn(mixed) == drawn(known)


def test_another_text_gives_another_digest() -> None:
    other = (*GAMES[:-1], {"title": "Headset", "brand": "Turtle"})
    assert Corpus.of([catalogue(other)]).digest != Corpus.of([catalogue()]).digest


def test_titles_that_share_words_or_attributes_are_near() -> None:
    corpus = Corpus.of([catalogue()])
    found, weights = corpus.near
    nearest = {title: corpus.titles[found[place, 0]] for place, title in enumerate(corpus.titles)}
    assert nearest["Halo 3 - Xbox 360"] == "Halo Reach - Xbox 360"
    assert nearest["Mario Kart Wii"] == "Mario Party Wii"
    assert nearest["Pokémon Y"].startswith("Mario")  # by the brand
    assert nearest["Headset"].startswith("Halo")  # by one of the values between commas
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)
    assert (weights >= 0).all()
    assert not (found == np.arange(len(corpus))[:, None]).any()


def test_a_title_like_no_other_is_followed_by_any() -> None:
    corpus = Corpus.of([catalogue((*GAMES, {"title": "Ōkami"}))])
    place = corpus.titles.index("Ōkami")
    assert not corpus.near[1][place].any()
    lists = corpus.lists(400, 2, np.random.default_rng(0))
    assert {one[1] for one in lists if one[0] == place} == set(range(len(corpus))) - {place}


def test_near_is_the_cosine_in_full() -> None:
    corpus = Corpus.of([generate().catalogue])
    dense = corpus.vectors.toarray().astype(np.float64)
    cosines = dense @ dense.T
    np.fill_diagonal(cosines, -1)
    found, _ = corpus.near
    assert found.shape == (len(corpus), min(NEAR, len(corpus) - 1))
    best = -np.sort(-cosines, axis=1)[:, : found.shape[1]]
    np.testing.assert_allclose(np.take_along_axis(cosines, found, axis=1), best, atol=1e-5)


def test_lists_hold_each_title_once_and_like_follows_like() -> None:
    corpus = Corpus.of([generate().catalogue])
    lists = corpus.lists(300, 6, np.random.default_rng(0))
    assert all(len(one) == len(set(one)) == 6 for one in lists)
    dense = corpus.vectors.toarray()
    steps = [dense[first] @ dense[second] for one in lists for first, second in zip(one, one[1:], strict=False)]
    assert np.mean(steps) > 2 * (dense @ dense.T).mean()


def test_lists_are_no_longer_than_there_are_titles() -> None:
    lists = Corpus.of([catalogue()]).lists(5, 50, np.random.default_rng(0))
    assert all(sorted(one) == list(range(len(GAMES))) for one in lists)


def test_items_of_one_title_are_one_title_with_all_their_documents() -> None:
    corpus = Corpus.of([catalogue(), catalogue(({"title": "Headset", "brand": "Other"},), "more")])
    assert corpus.titles.count("Headset") == 1 and len(corpus.documents) == len(GAMES) + 1
    assert [item["title"] for item in corpus.items] == list(corpus.titles)


def test_one_title_is_no_corpus() -> None:
    with pytest.raises(DataError, match="1 distinct titles"):
        Corpus.of([catalogue(GAMES[:1])])
