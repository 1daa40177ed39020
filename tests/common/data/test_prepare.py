from __future__ import annotations

import functools
import hashlib
import io
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from common.data.dataset import Dataset
from common.data.download import fetch
from common.data.prepare import MOVIELENS_URL, Download, ensure, prepare
from common.errors import ConfigError, DataError
from tests.real_data import real_data

FILMS = 'movieId,title,genres\n1,Toy Story (1995),Animation|Comedy\n2,"Matrix, The (1999)",Action\n'
RATINGS = "userId,movieId,rating,timestamp\n1,1,4.0,964982703\n1,2,5.0,964982704\n2,2,3.5,964982705\n"


def _source(md5: str | None = None) -> tuple[Download, list[str]]:
    """The official address, played by a mock: the archive and its checksum file; and what was asked for."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("ml-latest-small/movies.csv", FILMS)
        archive.writestr("ml-latest-small/ratings.csv", RATINGS)
    body = packed.getvalue()
    digest = md5 or hashlib.md5(body, usedforsecurity=False).hexdigest()
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        known = {MOVIELENS_URL: body, f"{MOVIELENS_URL}.md5": f"MD5 (ml-latest-small.zip) = {digest}\n".encode()}
        return httpx.Response(200, content=known[str(request.url)])

    return functools.partial(fetch, transport=httpx.MockTransport(answer)), asked


def test_movielens_is_downloaded_checked_and_read(tmp_path: Path) -> None:
    download, asked = _source()
    dataset, report, folder = prepare("ml-latest-small", None, tmp_path, accept_licence=True, download=download)
    assert asked == [MOVIELENS_URL, f"{MOVIELENS_URL}.md5"]
    assert dataset.catalogue.titles == ("Toy Story (1995)", "The Matrix (1999)") and report.rows == 5
    assert folder == tmp_path / "ml-latest-small" == ensure("ml-latest-small", tmp_path)
    assert Dataset.load(folder).digest == dataset.digest


def test_nothing_is_downloaded_before_the_licence_is_accepted(tmp_path: Path) -> None:
    download, asked = _source()
    with pytest.raises(DataError, match=r"non-commercial.*--accept-licence"):
        prepare("ml-latest-small", None, tmp_path, download=download)
    assert asked == []


def test_a_broken_download_leaves_nothing(tmp_path: Path) -> None:
    download, _ = _source(md5="0" * 32)
    with pytest.raises(DataError, match="MD5 checksum"):
        prepare("ml-latest-small", None, tmp_path, accept_licence=True, download=download)
    assert list(tmp_path.iterdir()) == []


def test_a_raw_folder_needs_no_download(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "movies.csv").write_text(FILMS)
    (raw / "ratings.csv").write_text(RATINGS)
    dataset, _, _ = prepare("ml-latest-small", raw, tmp_path / "home")
    assert len(dataset.interactions) == 3
    with pytest.raises(DataError, match="holds 'ml-latest-small', not 'ml-1m'"):
        prepare("ml-1m", raw, tmp_path / "home")


def test_two_tables_make_a_set_of_any_name(tmp_path: Path) -> None:
    (tmp_path / "items.csv").write_text("id,title\na,Alpha\nb,Beta\n")
    (tmp_path / "rows.csv").write_text("user,item\nx,a\nx,b\n")
    dataset, _, folder = prepare(
        "shop", None, tmp_path, items=tmp_path / "items.csv", interactions=tmp_path / "rows.csv"
    )
    assert (dataset.name, dataset.users, folder) == ("shop", 1, tmp_path / "shop")


@pytest.mark.parametrize(
    ("name", "tables", "error", "said"),
    [
        ("shop", {}, ConfigError, "none of the named data sets.*--items FILE --interactions FILE"),
        ("sample", {"items": Path("x")}, ConfigError, "choose another name"),
        ("amazon-games", {}, DataError, "give the folder with --raw"),
        ("../shop", {}, ConfigError, "cannot name a data set"),
    ],
)
def test_what_cannot_be_prepared_says_why(tmp_path: Path, name: str, tables: dict, error: type, said: str) -> None:
    with pytest.raises(error, match=said):
        prepare(name, None, tmp_path, **tables)


def test_preparing_again_replaces_other_content_and_keeps_the_same(tmp_path: Path) -> None:
    tables = {"items": tmp_path / "items.csv", "interactions": tmp_path / "rows.csv"}
    tables["items"].write_text("id,title\na,Alpha\nb,Beta\n")
    tables["interactions"].write_text("user,item\nx,a\n")
    first, _, folder = prepare("shop", None, tmp_path, **tables)
    (folder / "shards").mkdir()
    prepare("shop", None, tmp_path, **tables)
    assert (folder / "shards").is_dir()
    tables["interactions"].write_text("user,item\nx,b\n")
    second, _, _ = prepare("shop", None, tmp_path, **tables)
    assert Dataset.load(folder).digest == second.digest != first.digest
    assert not (folder / "shards").exists()


def test_ensure_makes_the_sample_and_nothing_else(tmp_path: Path) -> None:
    assert Dataset.load(ensure("sample", tmp_path)).generated
    with pytest.raises(DataError, match="run `fellrec data prepare films`"):
        ensure("films", tmp_path)
    with pytest.raises(ConfigError, match="cannot name"):
        ensure("..", tmp_path)


def test_two_may_want_the_sample_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        folders = list(pool.map(lambda _: ensure("sample", tmp_path), range(2)))
    assert folders == [tmp_path / "sample"] * 2
    assert [path.name for path in tmp_path.iterdir()] == ["sample"]
    assert Dataset.load(tmp_path / "sample").users == 800


def test_real_data_is_prepared_whole(tmp_path: Path) -> None:
    dataset, report, folder = prepare("ml-latest-small", real_data("ml-latest-small"), tmp_path)
    assert (dataset.users, len(dataset.catalogue), len(dataset.interactions)) == (610, 9742, 100836)
    assert report.bad == {} and report.notes == [] and report.duplicate_ids == 0
    assert Dataset.load(folder).digest == dataset.digest
