"""The identity of a model's weights: a digest of every tensor, whichever files they lie in, and one over them all."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.cut.tensors import stored_tensors, tensor_digest
from common.cut.weights import tensor_files
from common.home import models_home


def tensor_digests(folder: Path | str) -> dict[str, str]:
    """The digest of each tensor in a folder, by the name stored there.

    Independent of sharding. Remembered under fellrec's home until a file's size or time of change differs, for a
    client's process starts anew each round.

    Raises
    ------
    ModelError : the folder's weights cannot be read.
    """
    folder = Path(folder).resolve()
    files = tensor_files(folder)
    stamps = [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in sorted(set(files.values()))]
    memory = models_home() / "digests" / f"{hashlib.sha256(str(folder).encode()).hexdigest()[:32]}.json"
    if (known := _recall(memory, stamps)) is not None:
        return known
    tensors = _hash(files)
    _remember(memory, {"folder": str(folder), "files": stamps, "tensors": tensors})
    return tensors


def joint_digest(tensors: Mapping[str, str]) -> str:
    """SHA-256 over the digests of all tensors in the order of their names, as hexadecimal digits.

    The same weights under other names are another model.
    """
    return hashlib.sha256("".join(tensors[name] for name in sorted(tensors)).encode()).hexdigest()


def _hash(files: dict[str, Path]) -> dict[str, str]:
    names_by_file: dict[Path, list[str]] = defaultdict(list)
    for name, file in files.items():
        names_by_file[file].append(name)
    return {
        name: tensor_digest(name, tensor)
        for file, names in names_by_file.items()
        for name, tensor in zip(names, stored_tensors(file, names), strict=True)
    }


def _recall(memory: Path, stamps: list[Any]) -> dict[str, str] | None:
    try:
        kept = json.loads(memory.read_text(encoding="utf-8"))
        return kept["tensors"] if kept["files"] == stamps else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _remember(memory: Path, entry: dict[str, Any]) -> None:
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=memory.parent, suffix=".tmp")
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(entry, file)
        os.replace(temporary, memory)
    except OSError:
        return  # a home that cannot be written to costs time, not correctness
