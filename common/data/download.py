"""Downloads: whole, checked, and no larger than expected; archives unpacked only into their own folder."""

from __future__ import annotations

import hashlib
import re
import zipfile
import zlib
from pathlib import Path, PurePosixPath

import httpx

from common.errors import DataError

MAX_BYTES = 2**30
_TIMEOUT = httpx.Timeout(30.0)
_BY_HAND = "download it by hand, unpack it, and give the folder with --raw"


def fetch(url: str, transport: httpx.BaseTransport | None = None, max_bytes: int = MAX_BYTES) -> bytes:
    """What lies at an https address; raises DataError where it cannot be had, or is larger than ``max_bytes``."""
    body = bytearray()
    try:
        with (
            httpx.Client(transport=transport, timeout=_TIMEOUT, follow_redirects=True) as client,
            client.stream("GET", url) as response,
        ):
            response.raise_for_status()
            if response.url.scheme != "https":
                raise DataError(f"{url!r} led to {str(response.url)!r}, which is not https", _BY_HAND)
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > max_bytes:
                    raise DataError(f"{url!r} is larger than {max_bytes} bytes", _BY_HAND)
    except httpx.HTTPError as error:
        raise DataError(f"cannot download {url!r}: {error}", _BY_HAND) from error
    return bytes(body)


def check_md5(name: str, body: bytes, published: bytes) -> None:
    """Compare with a published checksum file; raises DataError where it differs or holds no checksum.

    MD5 is what the source publishes: it tells a broken download from a whole one, and no more.
    """
    found = re.search(rb"\b[0-9a-fA-F]{32}\b", published)
    if found is None:
        raise DataError(f"the checksum file of {name!r} holds no MD5 checksum: {published[:80]!r}", _BY_HAND)
    expected, actual = found[0].decode().lower(), hashlib.md5(body, usedforsecurity=False).hexdigest()
    if expected != actual:
        raise DataError(f"{name!r} has the MD5 checksum {actual}, published is {expected}", f"try again, or {_BY_HAND}")


def unzip(archive: Path, folder: Path, max_bytes: int = MAX_BYTES) -> None:
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
