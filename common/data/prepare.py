"""From raw data to a prepared folder under the home: read, download where there is a source, generate the sample."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from common.data import sample
from common.data.click_folder import load_clicks, save_clicks
from common.data.click_split import check_testable as check_clicks
from common.data.clicks import ClickLog
from common.data.dataset import Dataset
from common.data.download import Downloader
from common.data.filters import Filters
from common.data.manifest import digest_in
from common.data.place import placed
from common.data.readers import csv_files
from common.data.readers.names import SAMPLE, in_short, look_up, named, nearest
from common.data.readers.names import read as read_raw
from common.data.readers.report import ReadReport
from common.data.sets import check_name
from common.data.sources import downloaded
from common.data.summary import check_testable
from common.errors import ConfigError, DataError

RAW = ".raw"
NO_FILTERS = Filters()


def prepare(
    name: str,
    raw: Path | None,
    out_root: Path,
    accept_licence: bool = False,
    items: Path | None = None,
    interactions: Path | None = None,
    filters: Filters = NO_FILTERS,
    called: str = "",
    downloader: Downloader | None = None,
) -> tuple[Dataset | ClickLog, ReadReport, Path]:
    """Read a data set, filter it, write it to ``out_root/called``, and say what was met.

    ``sample`` is generated. The other named sets are read from ``raw``, or downloaded once the licence is accepted where
    their source allows it; what was downloaded stays in ``out_root/.raw/name``. Every other name is read from the two
    tables ``items`` and ``interactions``. A former folder of other content goes with its shards. ``called`` is the
    prepared set's name; without it, ``name`` and what the filters are called. A part of a named set never goes by the
    name of a whole one. A click log is kept whole: no filters.

    Raises ConfigError for settings that do not go together, DataError for data that cannot be had or read, or of which no
    split leaves a user to be tested.
    """
    dataset: Dataset | ClickLog
    called = _called(check_name(name), filters, called)
    # refuses a name that looks like one of a family of sets and is none
    reader = look_up(name)
    if reader is not None and reader.clicks and filters != NO_FILTERS:
        raise ConfigError(f"{name!r} is a click log, and filters are for catalogues", "prepare it without filters")
    if reader is None and name != SAMPLE:
        dataset, report = _tables(name, items, interactions)
    elif items or interactions:
        raise ConfigError(
            f"{name!r} is a data set of its own, and has no tables for items and interactions", "choose another name"
        )
    elif reader is None:
        dataset, report = sample.generate(), ReadReport()
    elif raw is not None:
        dataset, report = read_raw(name, raw)
    else:
        folder = downloaded(name, out_root / RAW / name, accept_licence, downloader or Downloader())
        dataset, report = read_raw(name, folder)
    if isinstance(dataset, ClickLog):
        check_clicks(dataset)
        dataset = dataset if called == dataset.name else replace(dataset, name=called)
        return dataset, report, _place(dataset, out_root / called)
    dataset = filters.apply(dataset)
    dataset = dataset if called == dataset.name else dataset.renamed(called)
    report.testable = {how: str(users) for how, users in check_testable(dataset).items()}
    return dataset, report, _place(dataset, out_root / called)


def ensure(name: str, data_home: Path) -> Path:
    """The folder of a prepared data set; only the sample is made where it is missing, else DataError is raised."""
    folder = data_home / check_name(name)
    if name == SAMPLE and not folder.is_dir():
        with placed(folder) as building:
            sample.generate().save(building)
    digest_in(folder)
    return folder


def _called(name: str, filters: Filters, called: str) -> str:
    called = check_name(called or name + filters.suffix)
    if called in named() and (called != name or filters != NO_FILTERS):
        raise ConfigError(f"{called!r} is the name of a data set as its source has it", "choose another name with --as")
    return called


def _tables(name: str, items: Path | None, interactions: Path | None) -> tuple[Dataset, ReadReport]:
    if items is None or interactions is None:
        near = nearest(name)
        raise ConfigError(
            f"{name!r} is none of the named data sets ({', '.join(in_short())})",
            f"{f'did you mean {near}? Else ' if near else ''}give its two tables with --items FILE --interactions FILE",
        )
    return csv_files.read(items, interactions, name)


def _place(dataset: Dataset | ClickLog, folder: Path) -> Path:
    try:
        held = load_clicks(folder) if isinstance(dataset, ClickLog) else Dataset.load(folder)
        unchanged = held.digest == dataset.digest
    except DataError:
        unchanged = False
    if not unchanged:
        with placed(folder, replace=True) as building:
            save_clicks(dataset, building) if isinstance(dataset, ClickLog) else dataset.save(building)
    return folder
