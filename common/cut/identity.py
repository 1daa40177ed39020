"""The identity of a model's weights: one digest over every tensor, whichever files they lie in."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections import defaultdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from common.cut.weights import tensor_files
from common.errors import ModelError
from common.home import models_home


def digest(folder: Path | str) -> str:
    """SHA-256 over the sorted tensor names with their dtypes, shapes and bytes, as hexadecimal digits.

    Independent of sharding; the same weights under other names are another model. Remembered under fellrec's home
    until a file's size or time of change differs, for a client's process starts anew each round.

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
    value = _hash(files)
    _remember(memory, {"folder": str(folder), "files": stamps, "digest": value})
    return value


def _hash(files: dict[str, Path]) -> str:
    names_by_file: dict[Path, list[str]] = defaultdict(list)
    for name, file in files.items():
        names_by_file[file].append(name)
    tensors: dict[str, str] = {}
    for file, names in names_by_file.items():
        try:
            with safe_open(file, framework="pt") as opened:
                for name in names:
                    tensor = opened.get_tensor(name).contiguous()
                    head = json.dumps([name, str(tensor.dtype), list(tensor.shape)])
                    one = hashlib.sha256(head.encode())
                    one.update(tensor.flatten().view(torch.uint8).numpy().data)
                    tensors[name] = one.hexdigest()
        except (OSError, SafetensorError) as error:
            raise ModelError(f"{str(file)!r} cannot be read: {error}", "fetch the model again") from error
    return hashlib.sha256("".join(tensors[name] for name in sorted(tensors)).encode()).hexdigest()


def _recall(memory: Path, stamps: list) -> str | None:
    try:
        kept = json.loads(memory.read_text(encoding="utf-8"))
        return kept["digest"] if kept["files"] == stamps else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _remember(memory: Path, entry: dict) -> None:
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=memory.parent, suffix=".tmp")
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(entry, file)
        os.replace(temporary, memory)
    except OSError:
        return  # a home that cannot be written to costs time, not correctness
