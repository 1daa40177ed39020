from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from common.data.dataset import Dataset
from common.data.sample import generate
from common.data.split import Part, cases, split
from common.data.topics import TOPICS
from common.errors import ConfigError


@pytest.fixture(scope="module")
def sample() -> Dataset:
    return generate()


def test_it_is_marked_as_generated_and_has_the_size_promised(sample: Dataset) -> None:
    assert sample.generated and sample.name == "sample" and "not data about anyone" in sample.source
    assert (sample.users, len(sample.catalogue)) == (800, 600)
    assert set(np.diff(sample.interactions.offsets).tolist()) == set(range(12, 21))


def test_titles_differ_and_are_about_their_category(sample: Dataset) -> None:
    assert len(set(sample.catalogue.titles)) == 600
    phrases = {topic.name: [p.lower() for subtopic in topic.subtopics for p in subtopic] for topic in TOPICS}
    for item in sample.catalogue.items:
        assert any(phrase in item["title"].lower() for phrase in phrases[item["category"]]), item
        assert item["title"][0].isupper() and " A A" not in item["title"] and "{" not in item["title"]


def test_nobody_meets_an_item_twice_and_time_goes_on(sample: Dataset) -> None:
    known = sample.interactions
    for user in range(sample.users):
        rows = known.of_user(user)
        assert len(np.unique(known.items[rows])) == len(known.items[rows])
    assert known.times.max() - known.times.min() > 600 * 86_400


def test_the_seed_decides() -> None:
    assert generate(3, users=20, items=120).digest == generate(3, users=20, items=120).digest
    assert generate(3, users=20, items=120).digest != generate(4, users=20, items=120).digest


@pytest.mark.parametrize("how", ["leave-last-out", "global-time"])
def test_popularity_says_little_and_other_peoples_histories_say_more(sample: Dataset, how: str) -> None:
    known = sample.interactions
    parts = split(known, how)
    train = parts == Part.TRAIN
    met = np.zeros((sample.users, len(sample.catalogue)))
    met[known.users[train], known.items[train]] = 1
    popularity = met.sum(0)
    both = met.T @ met
    np.fill_diagonal(both, 0)
    nearness = both / np.sqrt(np.maximum(np.outer(popularity, popularity), 1))
    found = cases(known, parts, Part.TEST)
    by_popularity = _recall(found, lambda history: popularity)
    by_neighbours = _recall(found, lambda history: nearness[history[-10:]].sum(0))
    assert 0.02 < by_popularity < 0.06
    assert by_neighbours > 1.3 * by_popularity


def _recall(found, score) -> float:
    """R@10 with what was seen masked."""
    hits = []
    for history, targets, seen in zip(found.histories, found.targets, found.seen, strict=True):
        scores = score(history).copy()
        scores[seen] = -np.inf
        hits.append(np.isin(targets, np.argsort(-scores, kind="stable")[:10]).mean())
    return float(np.mean(hits))


def test_topics_lead_to_other_topics_again_and_again(sample: Dataset) -> None:
    """What a reader turns to when leaving a topic is no chance: few pairs of topics hold most of the steps."""
    names = [topic.name for topic in TOPICS]
    category = np.array([names.index(item["category"]) for item in sample.catalogue.items])
    steps = np.zeros((len(names), len(names)))
    for user in range(sample.users):
        for here, there in pairwise(category[sample.interactions.items[sample.interactions.of_user(user)]]):
            steps[here, there] += here != there
    two_most = np.sort(steps, axis=1)[:, -2:].sum() / steps.sum()
    assert two_most > 0.35


@pytest.mark.parametrize(
    ("sizes", "said"), [({"users": 9}, "users is 9"), ({"items": 119}, "119"), ({"items": 3001}, "3001")]
)
def test_sizes_out_of_range_are_refused(sizes: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        generate(**sizes)


def test_the_largest_catalogue_has_titles_enough() -> None:
    assert len(set(generate(users=10, items=3000).catalogue.titles)) == 3000
