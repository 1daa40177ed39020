"""Downloads: to disk as they come, checked, resumed where they broke off; archives unpacked only into their own folder."""

from __future__ import annotations

import hashlib
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import httpx

from common.errors import DataError

MAX_BYTES = 2**36  # the largest file of a named set takes about 20 GiB
MAX_UNPACKED = 2**33
_SMALL = 2**16
_TIMEOUT = httpx.Timeout(30.0)
_BY_HAND = "download it by hand, unpack it, and give the folder with --raw"

Progress = Callable[[str, int, int], None]


def silent(name: str, done: int, total: int) -> None:
    """The progress that nobody looks at."""


class Downloader:
    """Gets files by https.

    Parameters
    ----------
    progress : called with a file's name, the bytes there are, and how many there will be (0: not known).
    transport : how requests travel; None for the network.
    max_bytes : a larger file is refused.
    """

    def __init__(
        self, progress: Progress = silent, transport: httpx.BaseTransport | None = None, max_bytes: int = MAX_BYTES
    ) -> None:
        self.progress, self.transport, self.max_bytes = progress, transport, max_bytes

    def get(self, url: str, place: Path) -> Path:
        """Write what lies at ``url`` to ``place``, which is there whole or not at all.

        What has come before a break stays beside it, and the next call asks for the rest, if it is still the same file
        by the source's own mark (ETag, Last-Modified). Raises DataError where it cannot be had, or is too large.
        """
        place.parent.mkdir(parents=True, exist_ok=True)
        partial, mark = (place.with_name(f".{place.name}.{ending}") for ending in ("partial", "mark"))
        there = partial.stat().st_size if partial.is_file() and mark.is_file() else 0
        headers = {"Accept-Encoding": "identity"}
        if there:
            headers |= {"Range": f"bytes={there}-", "If-Range": mark.read_text(encoding="utf-8")}
        try:
            with self._opened(url, headers) as response:
                if response.status_code != httpx.codes.PARTIAL_CONTENT:
                    there = 0
                named = response.headers.get("ETag", "") or response.headers.get("Last-Modified", "")
                # A weak mark stands for files that may differ in their bytes, and cannot be resumed by.
                if named and not named.startswith("W/"):
                    mark.write_text(named, encoding="utf-8")
                else:
                    mark.unlink(missing_ok=True)
                total = there + int(response.headers.get("Content-Length", 0))
                with partial.open("ab" if there else "wb") as out:
                    for chunk in response.iter_bytes(2**18):
                        there += len(chunk)
                        if max(there, total) > self.max_bytes:
                            raise DataError(f"{url!r} is larger than {self.max_bytes} bytes", _BY_HAND)
                        out.write(chunk)
                        self.progress(place.name, there, total)
        except httpx.HTTPStatusError as error:
            if error.response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                partial.unlink(missing_ok=True)  # the source's file is no longer this long: the next call starts anew
            raise DataError(f"cannot download {url!r}: {error}", _BY_HAND) from error
        except httpx.HTTPError as error:
            raise DataError(f"cannot download {url!r}: {error}", f"try again: it goes on; or {_BY_HAND}") from error
        partial.replace(place)
        mark.unlink(missing_ok=True)
        return place

    def text(self, url: str) -> bytes:
        """What a small file at ``url`` holds, a checksum say; raises DataError where it cannot be had, or is not small."""
        try:
            with self._opened(url, {}) as response:
                body = b""
                for chunk in response.iter_bytes():
                    body += chunk
                    if len(body) > _SMALL:
                        raise DataError(f"{url!r} is larger than {_SMALL} bytes", _BY_HAND)
                return body
        except httpx.HTTPError as error:
            raise DataError(f"cannot download {url!r}: {error}", _BY_HAND) from error

    @contextmanager
    def _opened(self, url: str, headers: dict[str, str]) -> Iterator[httpx.Response]:
        with (
            httpx.Client(transport=self.transport, timeout=_TIMEOUT, follow_redirects=True) as client,
            client.stream("GET", url, headers=headers) as response,
        ):
            response.raise_for_status()
            if response.url.scheme != "https":
                raise DataError(f"{url!r} led to {str(response.url)!r}, which is not https", _BY_HAND)
            yield response


def digest(path: Path, algorithm: str = "sha256") -> str:
    """The digest (hex) of a file, read in blocks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


def check_md5(path: Path, published: bytes) -> None:
    """Compare with a published checksum file; raises DataError where it differs or holds no checksum.

    MD5 is what the source publishes: it tells a broken download from a whole one, and no more.
    """
    found = re.search(rb"\b[0-9a-fA-F]{32}\b", published)
    if found is None:
        raise DataError(f"the checksum file of {path.name!r} holds no MD5 checksum: {published[:80]!r}", _BY_HAND)
    expected, actual = found[0].decode().lower(), digest(path, "md5")
    if expected != actual:
        raise DataError(
            f"{path.name!r} has the MD5 checksum {actual}, published is {expected}", f"try again, or {_BY_HAND}"
        )


def unzip(archive: Path, folder: Path, max_bytes: int = MAX_UNPACKED) -> None:
    """Unpack into ``folder``; raises DataError for a path that leaves it, a link, or more than ``max_bytes``."""
    try:
        with zipfile.ZipFile(archive) as source:
            members = source.infolist()
            if sum(member.file_size for member in members) > max_bytes:
                raise DataError(f"{archive.name!r} unpacks to more than {max_bytes} bytes", _BY_HAND)
            for member in members:
                path = PurePosixPath(member.filename.replace("\\", "/"))
                link = (member.external_attr >> 16) & 0o170000 == 0o120000
                if path.is_absolute() or ".." in path.parts or ":" in member.filename or link:
                    raise DataError(
                        f"{archive.name!r} holds {member.filename!r}, which leads out of its folder", _BY_HAND
                    )
            # zipfile itself reads no more than a member's declared size, so the sum above bounds what is written.
            source.extractall(folder)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise DataError(f"{archive.name!r} is not a whole zip archive: {error}", f"try again, or {_BY_HAND}") from error
