"""common/data/readers/reader.py: who reads which set, told by the readers themselves."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from common.data.dataset import Dataset
from common.data.prepare import prepare
from common.data.readers.collect import Collector
from common.data.readers.names import in_short, named
from common.data.readers.reader import READERS, Source, reader
from common.data.readers.report import ReadReport
from common.data.sources import source_of
from common.errors import ConfigError, DataError

FILES = Path(__file__).resolve().parents[4] / "common" / "data" / "readers"


@pytest.fixture(autouse=True)
def _as_before():
    before = dict(READERS)
    yield
    READERS.clear()
    READERS.update(before)


def lists(folder: Path, name: str) -> tuple[Dataset, ReadReport]:
    """A line a user: who, and what in order."""
    found = Collector(folder / "lists.txt", folder / "lists.txt", timed=False)
    for row, line in enumerate((folder / "lists.txt").read_text().splitlines(), 1):
        user, *items = line.split()
        for item in items:
            found.has(item) or found.item(row, item, f"Thing {item}")
            found.interaction(row, user, item)
    return found.dataset(name, "none", "made for a test")


def test_a_new_reader_is_all_that_a_new_set_needs(tmp_path: Path) -> None:
    (tmp_path / "lists.txt").write_text(
        "".join(f"u{u} {u % 5} {(u + 1) % 5} {(u + 2) % 5} {(u + 3) % 5}\n" for u in range(6))
    )
    reader("lists-a", "lists-b", shown=["lists-X"], prefix="lists-")(lists)
    dataset, _, folder = prepare("lists-b", tmp_path, tmp_path / "home")
    assert (dataset.name, dataset.users, len(dataset.catalogue)) == ("lists-b", 6, 5) and Dataset.load(
        folder
    ).users == 6
    assert {"lists-a", "lists-b"} <= set(named()) and in_short()[-1] == "lists-X" and source_of("lists-a") is None
    with pytest.raises(ConfigError, match="'lists-c' names no set of 'lists-X'.*'lists-a'"):
        prepare("lists-c", tmp_path, tmp_path / "home")
    with pytest.raises(ConfigError, match="is the name of a data set"):
        prepare("ml-1m", tmp_path, tmp_path / "home", called="lists-a")
    with pytest.raises(DataError, match="not downloaded by fellrec"):
        prepare("lists-a", None, tmp_path / "home")


def test_a_source_is_told_by_the_reader(tmp_path: Path) -> None:
    reader("lists", source=lambda name: Source((f"https://example.org/{name}.txt",), "free"))(lists)
    assert source_of("lists") == Source(("https://example.org/lists.txt",), "free")
    with pytest.raises(DataError, match="licence of 'lists' is not accepted yet: free"):
        prepare("lists", None, tmp_path)


def test_the_same_function_defined_anew_takes_the_formers_place_and_another_is_refused() -> None:
    def made():
        @reader("again")
        def read(folder, name):
            raise AssertionError

        return read

    made()
    second = made()
    assert READERS["again"].read is second
    for name in ("again", "ml-1m", "sample"):
        with pytest.raises(ConfigError, match=f"two readers have the name {name!r}"):
            reader(name)(lists)
    with pytest.raises(ConfigError, match="has no name"):
        reader()
    with pytest.raises(ConfigError, match="cannot name a data set"):
        reader("a b")(lists)


def test_a_folder_with_another_set_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lists.txt").write_text("u1 1 2 3\n")
    reader("mine")(lambda folder, name: lists(folder, "yours"))
    with pytest.raises(DataError, match="holds 'yours', not 'mine'"):
        prepare("mine", tmp_path, tmp_path / "home")


def test_every_reader_stands_in_one_file_and_no_other_file_names_a_set() -> None:
    """A set is named where it is read: neither preparing nor downloading knows of one, but for the generated sample."""
    for path in (FILES / "names.py", FILES.parent / "prepare.py", FILES.parent / "sources.py"):
        text = path.read_text()
        assert not [name for name in READERS if re.search(rf"\b{re.escape(name)}\b", text)], path.name
    files = {found.read.__module__.rpartition(".")[2] for found in READERS.values()}
    assert files == {"amazon", "amazon_games", "kuairand", "kuaisar", "microlens", "movielens"}
