"""Where the named data sets are downloaded from, under which terms, and whether what came is what came before."""

from __future__ import annotations

import json
import re
from pathlib import Path

from common.data.download import Downloader, check_md5, digest, unzip
from common.data.place import placed
from common.data.readers.names import look_up
from common.data.readers.reader import Source
from common.errors import DataError
from common.files import read_json


def source_of(name: str) -> Source | None:
    """The source of a named data set; None for one that is only to be had from its own site, by hand."""
    found = look_up(name)
    return found.source(name) if found is not None and found.source is not None else None


def downloaded(name: str, folder: Path, accept_licence: bool, downloader: Downloader) -> Path:
    """The raw files of a named data set in ``folder``, downloaded where they are not there yet.

    A file whose source publishes a checksum is compared with it. Of every other the SHA-256 is kept, in
    ``<folder>.json``, when it first comes, and compared when it comes again. Raises DataError before anything is asked
    for where the licence is not accepted, and for a file that cannot be had or is another one than it should be.
    """
    source = source_of(name)
    if source is None:
        raise DataError(
            f"{name!r} is not downloaded by fellrec", "get it from its source, and give the folder with --raw"
        )
    if not accept_licence:
        raise DataError(
            f"the licence of {name!r} is not accepted yet: {source.licence}", "read it, then add --accept-licence"
        )
    for url in source.urls:
        place = folder / url.rpartition("/")[2]
        if not place.is_file():
            downloader.get(url, place)
            try:
                if source.md5:
                    check_md5(place, downloader.text(f"{url}.md5"))
                else:
                    _compare(place, url, folder.with_name(f"{folder.name}.json"))
            except DataError:
                place.unlink()
                raise
    if not source.md5:
        return folder
    unpacked = folder / name
    if not unpacked.is_dir():
        with placed(unpacked) as building:
            unzip(folder / f"{name}.zip", building)
    # An archive holds one folder with the files.
    inner = [path for path in unpacked.iterdir() if path.is_dir() and re.match("ml-", path.name)]
    return inner[0] if len(inner) == 1 else unpacked


def _compare(place: Path, url: str, seen: Path) -> None:
    known = read_json(seen, DataError, "delete it; it is made anew") if seen.is_file() else {}
    found = digest(place)
    former = known.get(place.name, {}).get("sha256", found)
    if former != found:
        raise DataError(
            f"{url!r} has the SHA-256 {found}, and had {former} when it first came",
            f"the source may have a new release: take its entry out of {str(seen)!r} to accept it",
        )
    known[place.name] = {"url": url, "sha256": found, "bytes": place.stat().st_size}
    seen.write_text(json.dumps(known, indent=1), encoding="utf-8")
