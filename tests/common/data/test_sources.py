from __future__ import annotations

import gzip
import hashlib
import io
import json
import zipfile
from pathlib import Path

import httpx
import pytest

from common.data.dataset import Dataset
from common.data.download import Downloader
from common.data.prepare import ensure, prepare
from common.data.readers.names import named
from common.data.sources import downloaded, source_of
from common.errors import DataError

FILMS = 'movieId,title,genres\n1,Toy Story (1995),Animation|Comedy\n2,"Matrix, The (1999)",Action\n3,Up,Drama\n4,Heat,Drama\n'
RATINGS = "userId,movieId,rating,timestamp\n" + "".join(f"1,{film},4.0,96498270{film}\n" for film in (1, 2, 3, 4))
MOVIELENS = "https://files.grouplens.org/datasets/movielens/ml-latest-small.zip"
AMAZON = "https://mcauleylab.ucsd.edu/public_datasets/data/amazon_2023/"


class Source:
    """The official addresses, played by a mock: what lies there, and what was asked for."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files, self.asked = files, []
        self.downloader = Downloader(transport=httpx.MockTransport(self._answer))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(str(request.url))
        return httpx.Response(200, content=self.files[str(request.url)])


def _movielens(md5: str = "") -> Source:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("ml-latest-small/movies.csv", FILMS)
        archive.writestr("ml-latest-small/ratings.csv", RATINGS)
    body = packed.getvalue()
    published = md5 or hashlib.md5(body, usedforsecurity=False).hexdigest()
    return Source({MOVIELENS: body, f"{MOVIELENS}.md5": f"MD5 (ml-latest-small.zip) = {published}\n".encode()})


def _amazon() -> Source:
    meta = "".join(json.dumps({"parent_asin": key, "title": key * 2}) + "\n" for key in ("B1", "B2", "B3", "B4"))
    ratings = "user_id,parent_asin,rating,timestamp\n" + "".join(f"u,B{n},4.0,160000000{n}000\n" for n in range(1, 5))
    return Source(
        {
            f"{AMAZON}benchmark/5core/rating_only/Books.csv.gz": gzip.compress(ratings.encode()),
            f"{AMAZON}raw/meta_categories/meta_Books.jsonl.gz": gzip.compress(meta.encode()),
        }
    )


def test_movielens_is_downloaded_checked_read_and_kept(tmp_path: Path) -> None:
    source = _movielens()
    for _ in range(2):
        dataset, report, folder = prepare(
            "ml-latest-small", None, tmp_path, accept_licence=True, downloader=source.downloader
        )
    assert source.asked == [MOVIELENS, f"{MOVIELENS}.md5"]
    assert dataset.catalogue.titles == ("Toy Story (1995)", "The Matrix (1999)", "Up", "Heat") and report.rows == 8
    assert folder == tmp_path / "ml-latest-small" == ensure("ml-latest-small", tmp_path)
    assert Dataset.load(folder).digest == dataset.digest


def test_amazon_is_downloaded_by_category(tmp_path: Path) -> None:
    source = _amazon()
    dataset, _, _ = prepare("amazon-2023-books", None, tmp_path, accept_licence=True, downloader=source.downloader)
    assert source.asked == list(source.files) and dataset.catalogue.titles == ("B1B1", "B2B2", "B3B3", "B4B4")
    seen = json.loads((tmp_path / ".raw" / "amazon-2023-books.json").read_text())
    body = source.files[source.asked[0]]
    assert seen["Books.csv.gz"] == {
        "url": source.asked[0],
        "sha256": hashlib.sha256(body).hexdigest(),
        "bytes": len(body),
    }


def test_a_file_without_a_published_checksum_is_compared_with_the_first_that_came(tmp_path: Path) -> None:
    source, folder = _amazon(), tmp_path / "raw"
    downloaded("amazon-2023-books", folder, True, source.downloader)
    ratings = folder / "Books.csv.gz"
    ratings.unlink()
    downloaded("amazon-2023-books", folder, True, source.downloader)
    ratings.unlink()
    source.files[source.asked[0]] += b"\n"
    with pytest.raises(DataError, match=r"had [0-9a-f]{64} when it first came.*raw.json' to accept it"):
        downloaded("amazon-2023-books", folder, True, source.downloader)
    assert not ratings.exists()


@pytest.mark.parametrize(
    ("name", "said"), [("ml-latest-small", r"non-commercial.*--accept-licence"), ("amazon-2018-books", "for research")]
)
def test_nothing_is_downloaded_before_the_licence_is_accepted(tmp_path: Path, name: str, said: str) -> None:
    source = Source({})
    with pytest.raises(DataError, match=said):
        prepare(name, None, tmp_path, downloader=source.downloader)
    assert source.asked == [] and list(tmp_path.iterdir()) == []


def test_a_broken_download_leaves_no_data_set_and_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="MD5 checksum"):
        prepare("ml-latest-small", None, tmp_path, True, downloader=_movielens("0" * 32).downloader)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == []


def test_which_sets_have_a_source() -> None:
    without = {name for name in named() if source_of(name) is None}
    clicks = {"kuaisar", "kuaisar-r", "kuairand-pure", "kuairand-1k"}
    assert without == {"sample", "amazon-games", "microlens-50k", "microlens-100k"} | clicks
    assert all(url.startswith("https://") for name in set(named()) - without for url in source_of(name).urls)
    assert source_of("amazon-2018-video-games").urls[0].endswith("categoryFilesSmall/Video_Games_5.json.gz")
