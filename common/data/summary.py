"""What a prepared data set holds, in numbers and words."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from common.data.coverage import Coverage
from common.data.dataset import Dataset
from common.data.manifest import MANIFEST, digest_of, read_manifest
from common.data.split import SPLITS, split
from common.errors import DataError

KIND = "interactions"
TITLES = 10


def summary(folder: Path) -> dict[str, Any]:
    """A prepared data set in plain values, ready for JSON; raises DataError for a folder that cannot be read.

    ``history_lengths`` are interactions per user; ``titles`` are of ten items spread evenly over the catalogue; ``times``
    the dates (UTC) of the first and the last interaction, None where only the order is known; ``splits`` those that the
    set can be split by, ``testable`` how many users each can test, and why not the others. Of a click log there is what its
    manifest says.
    """
    manifest = read_manifest(folder)
    if manifest.get("kind", KIND) != KIND:
        return _in_short(manifest, folder)
    dataset = Dataset.load(folder)
    known = dataset.interactions
    lengths = np.diff(known.offsets)
    places = np.unique(np.linspace(0, len(dataset.catalogue) - 1, TITLES).astype(int))
    return {
        **_in_short(manifest, folder),
        "items_met": len(np.unique(known.items)),
        "density": len(known) / (dataset.users * len(dataset.catalogue)),
        "history_lengths": {
            "least": int(lengths.min()),
            "median": float(np.median(lengths)),
            "mean": float(lengths.mean()),
            "90%": float(np.quantile(lengths, 0.9)),
            "most": int(lengths.max()),
        },
        "users_with_three_or_more": int((lengths >= 3).sum()),
        "times": None if known.times is None else [_date(known.times.min()), _date(known.times.max())],
        "splits": list(splits_of(dataset)),
        "testable": {how: asdict(found) for how, found in testable(dataset).items()},
        "attributes": sorted({name for item in dataset.catalogue.items for name in item}),
        "titles": [dataset.catalogue.titles[place] for place in places],
    }


def splits_of(dataset: Dataset) -> tuple[str, ...]:
    """The splits that a data set can be split by, or the one that it is split by."""
    if dataset.parts is not None:
        return (dataset.split,)
    return SPLITS if dataset.interactions.times is not None else SPLITS[:1]


def testable(dataset: Dataset) -> dict[str, Coverage]:
    """Who can be tested, by each split that the data set can be split by."""
    known, parts = dataset.interactions, dataset.parts
    return {how: Coverage.of(known, split(known, how) if parts is None else parts) for how in splits_of(dataset)}


def check_testable(dataset: Dataset) -> dict[str, Coverage]:
    """As :func:`testable`; raises DataError, the first split's, where no split leaves anybody to test and to learn from."""
    found, faults = testable(dataset), []
    for how, users in found.items():
        try:
            users.check(dataset.name, how)
        except DataError as error:
            faults.append(error)
    if len(faults) == len(found):
        raise faults[0]
    return found


def listing(data_home: Path) -> list[dict[str, Any]]:
    """The prepared data sets under the home, by name, each from its manifest alone; a damaged one says what is wrong."""
    found = []
    for path in sorted(data_home.glob(f"[!.]*/{MANIFEST}")):
        try:
            found.append(_in_short(read_manifest(path.parent), path.parent))
        except (DataError, LookupError, TypeError, AttributeError) as error:
            found.append({"name": path.parent.name, "folder": str(path.parent), "damaged": str(error)})
    return found


def _in_short(manifest: dict[str, Any], folder: Path) -> dict[str, Any]:
    return {
        "name": manifest["name"],
        "kind": manifest.get("kind", KIND),
        "folder": str(folder),
        "counts": dict(manifest["counts"]),
        "filters": list(manifest.get("filters", ())),
        "split": manifest.get("split", ""),
        "generated": manifest["generated"],
        "licence": manifest["licence"],
        "source": manifest["source"],
        "digest": digest_of(manifest["digests"]),
        "bytes": sum(path.stat().st_size for path in folder.iterdir() if path.is_file()),
    }


def _date(seconds: np.int64) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).date().isoformat()
