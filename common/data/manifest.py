"""The manifest of a prepared data set: what a folder holds, and the digests it is checked against."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.errors import DataError

SCHEMA = 1
MANIFEST = "dataset.json"
SHARDS = "shards"


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a folder; raises DataError where it is missing, damaged or of another schema."""
    path = folder / MANIFEST
    if not path.is_file():
        raise DataError(f"no prepared data set in {str(folder)!r}", remedy(folder))
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        schema = manifest["schema"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise DataError(f"damaged data set in {str(folder)!r}: {error}", remedy(folder)) from error
    if schema != SCHEMA:
        raise DataError(
            f"data set in {str(folder)!r} has schema {schema!r}, this fellrec reads {SCHEMA}", remedy(folder)
        )
    return manifest


def digest_in(folder: Path) -> tuple[str, str]:
    """Name and digest of the data set in a folder, from its manifest alone; raises DataError as ``read_manifest``."""
    manifest = read_manifest(folder)
    try:
        return manifest["name"], digest_of(manifest["digests"])
    except (LookupError, TypeError, AttributeError) as error:
        raise DataError(f"damaged data set in {str(folder)!r}: {error}", remedy(folder)) from error


def digest_of(digests: Mapping[str, str]) -> str:
    """One digest (SHA-256, hex) for those of the parts of a data set."""
    return hashlib.sha256("".join(digests.values()).encode()).hexdigest()


def remedy(folder: Path) -> str:
    """What helps against a folder that cannot be read."""
    if folder.parent.parent.name == SHARDS:
        return f"delete {str(folder.parent)!r}; the shards are made anew"
    return f"run `fellrec data prepare {folder.name}`; `fellrec data prepare --help` lists its options"
