from __future__ import annotations

import hashlib
import io
import stat
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from common.data.download import Downloader, check_md5, digest, unzip
from common.errors import DataError

URL = "https://example.org/films.zip"


Handler = Callable[[httpx.Request], httpx.Response]


def _downloader(handler: Handler, **more: int) -> Downloader:
    return Downloader(transport=httpx.MockTransport(handler), **more)


class _Breaking(httpx.SyncByteStream):
    """A body that comes in parts and breaks off after them."""

    def __init__(self, *parts: bytes) -> None:
        self.parts = parts

    def __iter__(self) -> Iterator[bytes]:
        yield from self.parts
        raise httpx.ReadError("the line is dead")


def test_a_file_comes_whole_with_its_progress(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    transport = httpx.MockTransport(lambda request: httpx.Response(200, content=b"body" * 100_000))
    place = Downloader(lambda *row: told.append(row), transport).get(URL, tmp_path / "new" / "films.zip")
    assert place.read_bytes() == b"body" * 100_000 and [path.name for path in place.parent.iterdir()] == ["films.zip"]
    assert told[-1] == ("films.zip", 400_000, 400_000) and [row[1] for row in told] == sorted(row[1] for row in told)


@pytest.mark.parametrize("same", [True, False])
def test_a_broken_download_goes_on_where_it_broke_if_the_file_is_the_same(tmp_path: Path, same: bool) -> None:
    body, asked = bytes(range(250)) * 4000, []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers.get("Range"))
        if len(asked) == 1:
            return httpx.Response(
                200, headers={"ETag": '"one"'}, stream=_Breaking(body[:300_000], body[300_000:700_000])
            )
        assert request.headers["If-Range"] == '"one"'
        start = int(asked[-1].removeprefix("bytes=").rstrip("-"))
        return httpx.Response(206, content=body[start:]) if same else httpx.Response(200, content=body[::-1])

    downloader = _downloader(answer)
    with pytest.raises(DataError, match=r"the line is dead.*it goes on"):
        downloader.get(URL, tmp_path / "films.zip")
    assert not (tmp_path / "films.zip").exists()
    assert downloader.get(URL, tmp_path / "films.zip").read_bytes() == (body if same else body[::-1])
    assert asked[0] is None and int(asked[1][6:-1]) > 0
    assert [path.name for path in tmp_path.iterdir()] == ["films.zip"]


def test_without_a_strong_mark_a_broken_download_starts_anew(tmp_path: Path) -> None:
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers.get("Range"))
        first = len(asked) == 1
        return (
            httpx.Response(200, headers={"ETag": 'W/"x"'}, stream=_Breaking(b"ab" * 200_000))
            if first
            else httpx.Response(200, content=b"whole")
        )

    downloader = _downloader(answer)
    with pytest.raises(DataError, match="dead"):
        downloader.get(URL, tmp_path / "films.zip")
    assert downloader.get(URL, tmp_path / "films.zip").read_bytes() == b"whole" and asked == [None, None]


def test_what_is_too_large_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="larger than 3 bytes"):
        _downloader(lambda request: httpx.Response(200, content=b"body"), max_bytes=3).get(URL, tmp_path / "a")
    with pytest.raises(DataError, match="larger than 65536 bytes"):
        _downloader(lambda request: httpx.Response(200, content=bytes(70_000))).text(URL)


def test_it_says_what_went_wrong_and_what_to_do_instead(tmp_path: Path) -> None:
    def broken(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no route")

    with pytest.raises(DataError, match=r"no route.*--raw"):
        _downloader(broken).get(URL, tmp_path / "a")
    with pytest.raises(DataError, match=r"404.*--raw"):
        _downloader(lambda request: httpx.Response(404)).get(URL, tmp_path / "a")
    with pytest.raises(DataError, match=r"404.*--raw"):
        _downloader(lambda request: httpx.Response(404)).text(URL)


def test_it_is_not_led_away_from_https(tmp_path: Path) -> None:
    def moved(request: httpx.Request) -> httpx.Response:
        plain = request.url.scheme == "http"
        return (
            httpx.Response(200) if plain else httpx.Response(302, headers={"location": "http://example.org/films.zip"})
        )

    with pytest.raises(DataError, match="not https"):
        _downloader(moved).get(URL, tmp_path / "a")


@pytest.mark.parametrize("form", ["MD5 (films.zip) = {}\n", "{}  films.zip\n", "{}"])
def test_md5_in_the_usual_forms(tmp_path: Path, form: str) -> None:
    path = tmp_path / "films.zip"
    path.write_bytes(b"body")
    published = hashlib.md5(b"body", usedforsecurity=False).hexdigest()
    check_md5(path, form.format(published).encode())
    path.write_bytes(b"other")
    with pytest.raises(DataError, match=r"'films.zip' has the MD5 checksum"):
        check_md5(path, form.format(published.upper()).encode())
    assert digest(path) == hashlib.sha256(b"other").hexdigest()


def test_md5_file_without_a_checksum(tmp_path: Path) -> None:
    (tmp_path / "films.zip").write_bytes(b"body")
    with pytest.raises(DataError, match="no MD5 checksum"):
        check_md5(tmp_path / "films.zip", b"<html>not found</html>")


def _archive(path: Path, members: dict[str, bytes], link: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in members.items():
            archive.writestr(name, body)
        if link:
            entry = zipfile.ZipInfo(link)
            entry.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(entry, "/etc")
    return path


def test_unzip_keeps_the_folders(tmp_path: Path) -> None:
    unzip(_archive(tmp_path / "a.zip", {"films/movies.csv": b"x"}), tmp_path / "out")
    assert (tmp_path / "out" / "films" / "movies.csv").read_bytes() == b"x"


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/evil", "C:\\evil", "a\\..\\..\\evil"])
def test_unzip_refuses_paths_that_lead_out(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="leads out"):
        unzip(_archive(tmp_path / "a.zip", {"fine": b"x", name: b"x"}), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_unzip_refuses_links(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'films/link', which leads out"):
        unzip(_archive(tmp_path / "a.zip", {}, link="films/link"), tmp_path / "out")


def test_unzip_refuses_bombs(tmp_path: Path) -> None:
    bomb = _archive(tmp_path / "a.zip", {"a": bytes(600), "b": bytes(600)})
    with pytest.raises(DataError, match="more than 1000 bytes"):
        unzip(bomb, tmp_path / "out", max_bytes=1000)


def test_unzip_refuses_what_is_broken(tmp_path: Path) -> None:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("films", b"all of the films")
    bodies = (
        b"no zip at all",
        whole.getvalue()[:-10],
        whole.getvalue().replace(b"all of the films", b"all of the filmz"),
    )
    for body in bodies:
        (tmp_path / "a.zip").write_bytes(body)
        with pytest.raises(DataError, match="not a whole zip archive"):
            unzip(tmp_path / "a.zip", tmp_path / "out")
