"""A click log as a folder on disk: a manifest, the rows, and the values of attributes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from common.data.attributes import Attributes
from common.data.clicks import ClickLog
from common.data.manifest import MANIFEST, SCHEMA, read_manifest, remedy
from common.errors import DataError

ROWS = "clicks.safetensors"
KIND = "clicks"
"""What the manifest of such a folder names itself, beside the plain data sets."""

_COLUMNS = ("users", "items", "clicks", "times")


def save_clicks(log: ClickLog, folder: Path) -> None:
    """Write both files; the manifest comes last, so that a folder with one is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: np.ascontiguousarray(getattr(log, name)) for name in _COLUMNS}
    if log.parts is not None:
        tensors["parts"] = log.parts
    described = {"user": (log.user_keys, log.user_attributes), "item": (log.item_keys, log.item_attributes)}
    for what, (keys, attributes) in described.items():
        tensors[f"{what}_keys"] = _packed(keys)
        tensors[f"{what}_codes"] = np.ascontiguousarray(attributes.codes)
    manifest = {
        "schema": SCHEMA,
        "kind": KIND,
        "name": log.name,
        "generated": log.generated,
        "licence": log.licence,
        "source": log.source,
        "attributes": {
            what: {"names": attributes.names, "values": attributes.values}
            for what, (_, attributes) in described.items()
        },
        "digests": log.digests(),
        "counts": {
            "users": len(log.user_keys),
            "items": len(log.item_keys),
            "rows": len(log),
            "clicks": int(log.clicks.sum()),
        },
    }
    _write(folder / ROWS, lambda path: save_file(tensors, path))
    text = json.dumps(manifest, indent=1, ensure_ascii=False)
    _write(folder / MANIFEST, lambda path: path.write_text(text, encoding="utf-8"))


def load_clicks(folder: Path) -> ClickLog:
    """Read what :func:`save_clicks` wrote; raises DataError where it is missing, damaged, or no click log."""
    manifest = read_manifest(folder)
    if manifest.get("kind") != KIND:
        raise DataError(f"data set in {str(folder)!r} is no click log", remedy(folder))
    try:
        log = _read(folder, manifest)
        digests = manifest["digests"]
    except (OSError, ValueError, LookupError, TypeError, AttributeError, SafetensorError, DataError) as error:
        raise DataError(f"damaged click log in {str(folder)!r}: {error}", remedy(folder)) from error
    if log.digests() != digests:
        raise DataError(f"click log in {str(folder)!r} is not what its manifest says: a digest differs", remedy(folder))
    return log


def _read(folder: Path, manifest: dict[str, Any]) -> ClickLog:
    tensors = load_file(folder / ROWS)
    keys = {what: tuple(json.loads(tensors[f"{what}_keys"].tobytes())) for what in ("user", "item")}
    attributes = {
        what: Attributes(tuple(own["names"]), tuple(map(tuple, own["values"])), tensors[f"{what}_codes"])
        for what, own in manifest["attributes"].items()
    }
    return ClickLog(
        manifest["name"],
        keys["user"],
        keys["item"],
        **{name: tensors[name] for name in _COLUMNS},
        user_attributes=attributes["user"],
        item_attributes=attributes["item"],
        generated=manifest["generated"],
        licence=manifest["licence"],
        source=manifest["source"],
        parts=tensors.get("parts"),
    )


def _packed(keys: tuple[str, ...]) -> NDArray[np.uint8]:
    """Text as a tensor: safetensors holds numbers only."""
    return np.frombuffer(json.dumps(keys, ensure_ascii=False).encode(), dtype=np.uint8)


def _write(path: Path, write: Callable[[Path], object]) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    write(partial)
    os.replace(partial, path)
