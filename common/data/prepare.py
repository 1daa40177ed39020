"""From raw data to a prepared folder under the home: read, download where there is a source, generate the sample."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from common.data import sample
from common.data.dataset import Dataset
from common.data.download import check_md5, fetch, unzip
from common.data.manifest import digest_in
from common.data.place import placed
from common.data.readers import amazon_games, csv_files, movielens
from common.data.readers.report import ReadReport
from common.data.sets import check_name
from common.errors import ConfigError, DataError

MOVIELENS_URL = "https://files.grouplens.org/datasets/movielens/ml-latest-small.zip"
NAMED = ("sample", "ml-latest-small", "ml-1m", "ml-100k", "amazon-games")

Download = Callable[[str], bytes]


def prepare(
    name: str,
    raw: Path | None,
    out_root: Path,
    accept_licence: bool = False,
    items: Path | None = None,
    interactions: Path | None = None,
    download: Download = fetch,
) -> tuple[Dataset, ReadReport, Path]:
    """Read a data set, write it to ``out_root/name``, and say what was met.

    ``sample`` is generated. ``ml-latest-small`` is read from ``raw``, or downloaded from its source once the licence is
    accepted; the other named sets need ``raw``. Every other name is read from the two tables ``items`` and
    ``interactions``. A former folder of other content goes with its shards.

    Raises ConfigError for settings that do not go together, DataError for data that cannot be had or read.
    """
    check_name(name)
    if name not in NAMED:
        dataset, report = _tables(name, items, interactions)
    elif items or interactions:
        raise ConfigError(
            f"{name!r} is a data set of its own, and has no tables for items and interactions", "choose another name"
        )
    elif name == "sample":
        dataset, report = sample.generate(), ReadReport()
    elif raw is not None:
        dataset, report = _raw(name, raw)
    else:
        with tempfile.TemporaryDirectory() as folder:
            dataset, report = _raw(name, _downloaded(name, Path(folder), accept_licence, download))
    return dataset, report, _place(dataset, out_root / name)


def ensure(name: str, data_home: Path) -> Path:
    """The folder of a prepared data set; only the sample is made where it is missing, else DataError is raised."""
    folder = data_home / check_name(name)
    if name == "sample" and not folder.is_dir():
        with placed(folder) as building:
            sample.generate().save(building)
    digest_in(folder)
    return folder


def _tables(name: str, items: Path | None, interactions: Path | None) -> tuple[Dataset, ReadReport]:
    if items is None or interactions is None:
        raise ConfigError(
            f"{name!r} is none of the named data sets ({', '.join(NAMED)})",
            "give its two tables with --items FILE --interactions FILE",
        )
    return csv_files.read(items, interactions, name)


def _raw(name: str, folder: Path) -> tuple[Dataset, ReadReport]:
    dataset, report = (amazon_games if name == amazon_games.NAME else movielens).read(folder)
    if dataset.name != name:
        raise DataError(f"{str(folder)!r} holds {dataset.name!r}, not {name!r}", f"prepare it as {dataset.name!r}")
    return dataset, report


def _downloaded(name: str, folder: Path, accept_licence: bool, download: Download) -> Path:
    if name != "ml-latest-small":
        raise DataError(
            f"{name!r} is not downloaded by fellrec", "get it from its source, and give the folder with --raw"
        )
    if not accept_licence:
        raise DataError(
            f"the licence of {name!r} is not accepted yet: {movielens.LICENCE}", "read it, then add --accept-licence"
        )
    body = download(MOVIELENS_URL)
    check_md5(f"{name}.zip", body, download(f"{MOVIELENS_URL}.md5"))
    archive = folder / f"{name}.zip"
    archive.write_bytes(body)
    unzip(archive, folder)
    return folder / name


def _place(dataset: Dataset, folder: Path) -> Path:
    try:
        unchanged = Dataset.load(folder).digest == dataset.digest
    except DataError:
        unchanged = False
    if not unchanged:
        with placed(folder, replace=True) as building:
            dataset.save(building)
    return folder
