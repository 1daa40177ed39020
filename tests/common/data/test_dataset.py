from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given

from common.data.dataset import CATALOGUE, INTERACTIONS, Dataset
from common.data.interactions import Interactions
from common.data.manifest import MANIFEST, digest_in
from common.data.split import split
from common.errors import DataError
from tests.common.data.strategies import dataset, interactions


def _toy() -> Dataset:
    known = Interactions(("ä", "b"), [0, 0, 0, 1], [6, 2, 1, 0], [3, 1, 2, 9])
    return replace(dataset(known), parts=split(known, "leave-last-out"), split="leave-last-out")


@pytest.mark.parametrize("timed", [True, False])
@pytest.mark.parametrize("divided", [True, False])
def test_a_folder_gives_back_what_was_saved(tmp_path: Path, timed: bool, divided: bool) -> None:
    known = _toy() if divided else replace(_toy(), parts=None, split="")
    if not timed:
        old = known.interactions
        known = replace(known, interactions=Interactions(old.user_keys, old.users, old.items))
    known.save(tmp_path / "toy")
    found = Dataset.load(tmp_path / "toy")
    assert found.digest == known.digest == digest_in(tmp_path / "toy")[1]
    assert (found.name, found.generated, found.licence, found.source, found.split) == (
        known.name,
        known.generated,
        known.licence,
        known.source,
        known.split,
    )
    assert found.interactions.user_keys == known.interactions.user_keys
    assert (found.interactions.times is not None) == timed
    assert found.catalogue.items == known.catalogue.items
    assert sorted(path.name for path in (tmp_path / "toy").iterdir()) == sorted([CATALOGUE, INTERACTIONS, MANIFEST])


def test_the_manifest_counts_and_warns_of_generated_data(tmp_path: Path) -> None:
    _toy().save(tmp_path)
    manifest = json.loads((tmp_path / MANIFEST).read_text(encoding="utf-8"))
    assert manifest["counts"] == {"users": 2, "items": 7, "interactions": 4}
    assert manifest["generated"] is True


def test_a_missing_folder_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="run `fellrec data prepare films`"):
        Dataset.load(tmp_path / "films")


def test_a_changed_file_is_noticed(tmp_path: Path) -> None:
    _toy().save(tmp_path)
    text = (tmp_path / CATALOGUE).read_text(encoding="utf-8")
    (tmp_path / CATALOGUE).write_text(text.replace("Title 3", "Title 9"), encoding="utf-8")
    with pytest.raises(DataError, match="digest differs"):
        Dataset.load(tmp_path)


@pytest.mark.parametrize("name", [CATALOGUE, INTERACTIONS, MANIFEST])
@pytest.mark.parametrize("damage", ["cut", "gone", "emptied"])
def test_a_damaged_file_is_refused_with_the_remedy(tmp_path: Path, name: str, damage: str) -> None:
    _toy().save(tmp_path)
    path = tmp_path / name
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:20] if damage == "cut" else b"")
    with pytest.raises(DataError, match="fellrec data prepare"):
        Dataset.load(tmp_path)


@pytest.mark.parametrize("change", [{"digests": None}, {"name": None, "digests": 3}, {"schema": 2}])
def test_a_manifest_of_another_form_is_refused(tmp_path: Path, change: dict) -> None:
    _toy().save(tmp_path)
    manifest = json.loads((tmp_path / MANIFEST).read_text(encoding="utf-8"))
    (tmp_path / MANIFEST).write_text(json.dumps(manifest | change), encoding="utf-8")
    with pytest.raises(DataError):
        Dataset.load(tmp_path)
    with pytest.raises(DataError):
        digest_in(tmp_path)


def test_a_catalogue_that_lies_there_already_is_linked(tmp_path: Path) -> None:
    known = _toy()
    known.save(tmp_path / "one")
    known.save(tmp_path / "two", same_catalogue=tmp_path / "one")
    known.save(tmp_path / "three", same_catalogue=tmp_path / "nowhere")
    assert (tmp_path / "two" / CATALOGUE).samefile(tmp_path / "one" / CATALOGUE)
    assert Dataset.load(tmp_path / "two").digest == Dataset.load(tmp_path / "three").digest == known.digest


@given(interactions())
def test_restrict_keeps_rows_parts_and_catalogue(known: Interactions) -> None:
    whole = replace(dataset(known), parts=split(known, "leave-last-out"), split="leave-last-out")
    part = whole.restrict([5, 1, 3], "toy-0")
    assert part.name == "toy-0" and part.catalogue is whole.catalogue
    assert part.interactions.user_keys == ("u5", "u1", "u3")
    for new, old in enumerate((5, 1, 3)):
        mine, theirs = part.interactions.of_user(new), known.of_user(old)
        assert part.interactions.items[mine].tolist() == known.items[theirs].tolist()
        assert part.interactions.times[mine].tolist() == known.times[theirs].tolist()
        assert part.parts[mine].tolist() == whole.parts[theirs].tolist()


@pytest.mark.parametrize("users", [[0, 0], [2], [-1]])
def test_restrict_refuses_users_that_are_not_there(users: list[int]) -> None:
    with pytest.raises(DataError, match="2 users"):
        _toy().restrict(users, "x")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"split": ""}, "belong together"),
        ({"parts": None}, "belong together"),
        ({"parts": np.zeros(3, np.int8)}, r"int8 \(3,\)"),
        ({"parts": np.zeros(4, np.int64)}, "int64"),
        ({"parts": np.full(4, 3, np.int8)}, r"hold \[3\]"),
        ({"catalogue": _toy().catalogue.subset(range(6))}, "item 6, 6 are there"),
    ],
)
def test_refuses_fields_that_do_not_fit(change: dict, said: str) -> None:
    with pytest.raises(DataError, match=said):
        replace(_toy(), **change)
