from __future__ import annotations

import hashlib
import io
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from common.data.download import check_md5, fetch, unzip
from common.errors import DataError

URL = "https://example.org/films.zip"


def _answering(handler: Callable[[httpx.Request], httpx.Response]) -> httpx.MockTransport:
    return httpx.MockTransport(handler)


def test_fetch_returns_the_body() -> None:
    assert fetch(URL, _answering(lambda request: httpx.Response(200, content=b"body"))) == b"body"


def test_fetch_refuses_what_is_too_large() -> None:
    with pytest.raises(DataError, match="larger than 3 bytes"):
        fetch(URL, _answering(lambda request: httpx.Response(200, content=b"body")), max_bytes=3)


def test_fetch_says_what_went_wrong_and_what_to_do_instead() -> None:
    def broken(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no route")

    with pytest.raises(DataError, match=r"no route.*--raw"):
        fetch(URL, _answering(broken))
    with pytest.raises(DataError, match=r"404.*--raw"):
        fetch(URL, _answering(lambda request: httpx.Response(404)))


def test_fetch_refuses_to_be_led_away_from_https() -> None:
    def moved(request: httpx.Request) -> httpx.Response:
        plain = request.url.scheme == "http"
        return (
            httpx.Response(200) if plain else httpx.Response(302, headers={"location": "http://example.org/films.zip"})
        )

    with pytest.raises(DataError, match="not https"):
        fetch(URL, _answering(moved))


@pytest.mark.parametrize("form", ["MD5 (films.zip) = {}\n", "{}  films.zip\n", "{}"])
def test_md5_in_the_usual_forms(form: str) -> None:
    digest = hashlib.md5(b"body", usedforsecurity=False).hexdigest()
    check_md5("films.zip", b"body", form.format(digest).encode())
    with pytest.raises(DataError, match=r"'films.zip' has the MD5 checksum"):
        check_md5("films.zip", b"other", form.format(digest.upper()).encode())


def test_md5_file_without_a_checksum() -> None:
    with pytest.raises(DataError, match="no MD5 checksum"):
        check_md5("films.zip", b"body", b"<html>not found</html>")


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
