from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.data.interactions import Interactions
from common.data.sample import generate
from common.data.split import SPLITS, Part, cases, split, training_examples
from common.errors import ConfigError, DataError
from tests.common.data.strategies import USERS, interactions


@given(interactions(timed=False))
def test_leave_last_out_takes_the_last_two_of_each_user(known: Interactions) -> None:
    parts = split(known, "leave-last-out")
    for user in range(USERS):
        own = parts[known.of_user(user)].tolist()
        expected = [Part.TRAIN] * len(own) if len(own) < 3 else [Part.TRAIN] * (len(own) - 2) + [Part.VALID, Part.TEST]
        assert own == expected


@given(interactions(least=1))
def test_global_time_never_lets_a_later_part_begin_earlier(known: Interactions) -> None:
    parts = split(known, "global-time")
    order = np.argsort(known.times, kind="stable")
    assert (np.diff(parts[order]) >= 0).all()
    for moment in np.unique(known.times):
        assert len(set(parts[known.times == moment].tolist())) == 1
    assert (parts == Part.TRAIN).mean() >= 0.8 - 1e-9


def test_global_time_gives_the_shares_asked_for() -> None:
    times = np.arange(1000)
    parts = split(Interactions(("a",), np.zeros(1000, int), np.zeros(1000, int), times), "global-time", (0.7, 0.1, 0.2))
    assert np.bincount(parts).tolist() == [700, 100, 200]


def test_global_time_needs_times() -> None:
    with pytest.raises(DataError, match=r"needs times.*'leave-last-out'"):
        split(Interactions(("a",), [0], [0]), "global-time")


@pytest.mark.parametrize("how", SPLITS)
def test_nothing_splits_into_nothing(how: str) -> None:
    assert split(Interactions((), [], [], []), how).shape == (0,)


@pytest.mark.parametrize(
    ("how", "fractions", "said"),
    [
        ("by-hand", (0.8, 0.1, 0.1), "unknown split 'by-hand'"),
        ("global-time", (0.8, 0.2), "fractions"),
        ("global-time", (0.8, 0.1, 0.2), "add up to 1"),
        ("global-time", (1.0, 0.0, 0.0), "positive"),
        ("global-time", (float("nan"), 0.5, 0.5), "nan"),
    ],
)
def test_split_refuses_bad_settings(how: str, fractions: tuple, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        split(Interactions(("a",), [0], [0], [1]), how, fractions)


@given(interactions(), st.sampled_from(SPLITS), st.sampled_from([Part.VALID, Part.TEST]))
def test_cases_hold_what_came_before_and_ask_for_what_is_new(known: Interactions, how: str, part: Part) -> None:
    parts = split(known, how)
    found = cases(known, parts, part)
    expected = {}
    for user in range(USERS):
        rows = known.of_user(user)
        history = known.items[rows][parts[rows] < part].tolist()
        targets = list(dict.fromkeys(i for i in known.items[rows][parts[rows] == part].tolist() if i not in history))
        if history and targets:
            expected[user] = (history, targets, sorted(set(history)))
    fields = zip(found.users, found.histories, found.targets, found.seen, strict=True)
    assert {int(u): (h.tolist(), t.tolist(), s.tolist()) for u, h, t, s in fields} == expected
    assert found.dropped == len(np.unique(known.users[parts == part])) - len(expected)


@given(interactions(), st.integers(1, 4), st.integers(0, 3))
def test_a_limit_samples_users_by_the_seed(known: Interactions, limit: int, seed: int) -> None:
    parts = split(known, "leave-last-out")
    everyone = cases(known, parts, Part.TEST)
    some = cases(known, parts, Part.TEST, limit, seed)
    assert len(some) == min(limit, len(everyone)) and some.dropped == everyone.dropped
    assert some.users.tolist() == cases(known, parts, Part.TEST, limit, seed).users.tolist()
    whole = dict(zip(everyone.users.tolist(), everyone.targets, strict=True))
    for user, targets in zip(some.users.tolist(), some.targets, strict=True):
        assert targets.tolist() == whole[user].tolist()


@given(interactions(), st.sampled_from(SPLITS), st.integers(1, 5))
def test_training_examples_come_from_train_alone_and_never_show_their_target(
    known: Interactions, how: str, history: int
) -> None:
    parts = split(known, how)
    found = training_examples(known, parts, history)
    expected = []
    for user in range(USERS):
        rows = known.of_user(user)
        train = known.items[rows][parts[rows] == Part.TRAIN].tolist()
        for place, target in enumerate(train):
            earlier = [item for item in train[:place] if item != target][-history:]
            if earlier:
                expected.append((user, earlier, target))
    fields = zip(found.users.tolist(), found.histories, found.targets.tolist(), strict=True)
    assert [(user, earlier.tolist(), target) for user, earlier, target in fields] == expected


@given(interactions(), st.integers(1, 10), st.integers(0, 3))
def test_a_limit_samples_examples_by_the_seed(known: Interactions, limit: int, seed: int) -> None:
    parts = split(known, "leave-last-out")
    everything = _rows(training_examples(known, parts, 3))
    some = _rows(training_examples(known, parts, 3, limit, seed))
    assert len(some) == min(limit, len(everything))
    assert set(some) <= set(everything)
    assert some == _rows(training_examples(known, parts, 3, limit, seed))


def test_another_seed_samples_others() -> None:
    known = generate(users=60, items=120).interactions
    parts = split(known, "leave-last-out")
    assert cases(known, parts, Part.TEST, 20, 0).users.tolist() != cases(known, parts, Part.TEST, 20, 1).users.tolist()
    assert _rows(training_examples(known, parts, 5, 20, 0)) != _rows(training_examples(known, parts, 5, 20, 1))


def test_bad_arguments_are_refused() -> None:
    known = Interactions(("a",), [0, 0], [0, 1])
    parts = split(known, "leave-last-out")
    with pytest.raises(ConfigError, match="history is 0"):
        training_examples(known, parts, 0)
    with pytest.raises(ConfigError, match="limit is -1"):
        training_examples(known, parts, 1, -1)
    with pytest.raises(ConfigError, match="limit is -2"):
        cases(known, parts, Part.TEST, -2)
    with pytest.raises(ConfigError, match="not train"):
        cases(known, parts, Part.TRAIN)
    with pytest.raises(DataError, match=r"shape \(1,\)"):
        cases(known, parts[:1], Part.TEST)


def _rows(found) -> list[tuple]:
    return [
        (user, tuple(history.tolist()), target)
        for user, history, target in zip(found.users.tolist(), found.histories, found.targets.tolist(), strict=True)
    ]


@given(st.permutations(range(40)))
def test_global_time_cuts_where_fellrec_cuts(times: list[int]) -> None:
    # github.com/jasonchen505/FELLRec, data/games/process_global.ipynb: the sorted times' places -2n and -n, n = 10 %.
    known = Interactions(("a", "b"), np.repeat([0, 1], 20), np.zeros(40, dtype=int), np.array(times))
    ordered, tenth = sorted(times), len(times) // 10
    first, second = ordered[-2 * tenth], ordered[-tenth]
    theirs = [0 if time < first else 1 if time < second else 2 for time in known.times]
    assert split(known, "global-time").tolist() == theirs
