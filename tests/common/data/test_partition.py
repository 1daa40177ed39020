from __future__ import annotations

import json
import multiprocessing
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
import pytest

from common.data.dataset import CATALOGUE, Dataset
from common.data.partition import LISTING, Sharding, shards
from common.data.sample import generate
from common.data.split import split
from common.errors import ConfigError, DataError


@pytest.fixture
def home(tmp_path: Path) -> Path:
    generate(users=60, items=120).save(tmp_path / "sample")
    return tmp_path


@pytest.mark.parametrize("how", ["leave-last-out", "global-time"])
def test_the_shards_make_up_the_whole(home: Path, how: str) -> None:
    whole = Dataset.load(home / "sample")
    parts = split(whole.interactions, how)
    found: dict[str, tuple[list[int], list[int]]] = {}
    for key, folder in shards(home / "sample", Sharding(clients=3, split=how), home):
        shard = Dataset.load(folder)
        assert (shard.name, shard.split, shard.generated, folder.name) == (key, how, True, key)
        assert shard.catalogue.digest == whole.catalogue.digest
        for user, name in enumerate(shard.interactions.user_keys):
            rows = shard.interactions.of_user(user)
            assert name not in found
            found[name] = shard.interactions.items[rows].tolist(), shard.parts[rows].tolist()
    for user, name in enumerate(whole.interactions.user_keys):
        rows = whole.interactions.of_user(user)
        assert found.pop(name) == (whole.interactions.items[rows].tolist(), parts[rows].tolist())
    assert not found


@pytest.mark.parametrize(("clients", "first", "last"), [(3, "sample-0", "sample-2"), (12, "sample-00", "sample-11")])
def test_client_keys_sort_as_they_count(home: Path, clients: int, first: str, last: str) -> None:
    keys = [key for key, _ in shards(home / "sample", Sharding(clients=clients), home)]
    assert (keys[0], keys[-1], len(keys)) == (first, last, clients) and keys == sorted(keys)


def test_a_second_call_lists_what_the_first_wrote(home: Path) -> None:
    first = shards(home / "sample", Sharding(clients=2), home)
    before = {path: path.stat().st_mtime_ns for _, folder in first for path in folder.iterdir()}
    assert shards(home / "sample", Sharding(clients=2), home) == first
    assert {path: path.stat().st_mtime_ns for _, folder in first for path in folder.iterdir()} == before


def test_another_spec_or_another_content_lies_elsewhere(home: Path) -> None:
    specs = [Sharding(clients=2), Sharding(clients=2, seed=1), Sharding(clients=2, own_catalogue=True)]
    places = {shards(home / "sample", spec, home)[0][1].parent for spec in specs}
    generate(seed=1, users=60, items=120).save(home / "sample")
    places.add(shards(home / "sample", specs[0], home)[0][1].parent)
    assert len(places) == 4


def test_one_catalogue_file_serves_all_clients(home: Path) -> None:
    (_, first), *others = shards(home / "sample", Sharding(how="user", clients=4), home)
    assert all((folder / CATALOGUE).samefile(first / CATALOGUE) for _, folder in others)


def test_an_own_catalogue_holds_what_the_users_met(home: Path) -> None:
    common = [Dataset.load(folder) for _, folder in shards(home / "sample", Sharding(clients=4), home)]
    own = [Dataset.load(f) for _, f in shards(home / "sample", Sharding(clients=4, own_catalogue=True), home)]
    for shared, mine in zip(common, own, strict=True):
        assert len(mine.catalogue) == len(np.unique(shared.interactions.items)) < len(shared.catalogue)
        titles = [shared.catalogue.titles[item] for item in shared.interactions.items]
        assert [mine.catalogue.titles[item] for item in mine.interactions.items] == titles
        assert mine.parts.tolist() == shared.parts.tolist()


def test_damaged_shards_say_what_to_delete(home: Path) -> None:
    place = shards(home / "sample", Sharding(clients=2), home)[0][1].parent
    (place / LISTING).write_text(json.dumps({"clients": 3}), encoding="utf-8")
    with pytest.raises(DataError, match="delete that folder"):
        shards(home / "sample", Sharding(clients=2), home)
    (place / "sample-0" / CATALOGUE).unlink()
    with pytest.raises(DataError, match="the shards are made anew"):
        Dataset.load(place / "sample-0")


def test_a_missing_data_set_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="fellrec data prepare films"):
        shards(tmp_path / "films", Sharding(), tmp_path)


@pytest.mark.parametrize(
    "bad", [{"how": "x"}, {"clients": 0}, {"alpha": -1.0}, {"split": "x"}, {"fractions": (1, 1, 1)}]
)
def test_bad_settings_are_refused_before_any_work(bad: dict) -> None:
    with pytest.raises(ConfigError):
        Sharding(**bad)


def _ask(home: Path, start: Barrier, answers: multiprocessing.SimpleQueue) -> None:
    start.wait()
    answers.put(shards(home / "sample", Sharding(clients=4), home))


def test_two_processes_that_race_get_the_same_whole_shards(home: Path) -> None:
    context = multiprocessing.get_context("spawn")
    start, answers = context.Barrier(2), context.SimpleQueue()
    racers = [context.Process(target=_ask, args=(home, start, answers)) for _ in range(2)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join()
    assert [racer.exitcode for racer in racers] == [0, 0]
    first, second = answers.get(), answers.get()
    assert first == second
    assert sum(Dataset.load(folder).users for _, folder in first) == 60
    assert [path.name for path in (home / "sample" / "shards").iterdir()] == [first[0][1].parent.name]
