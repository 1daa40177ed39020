"""The two folders that ``fellrec split`` makes, one for the clients and one for the server."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from safetensors.torch import save_file

from common.cut.families import read_config
from common.cut.manifests import Manifest, manifest, read_manifest
from common.cut.names import owner
from common.cut.point import Cut
from common.cut.weights import INDEX_FILE, read_weights, tensor_files
from common.errors import ModelError

CLIENT_FILES = (
    "tokenizer*",
    "vocab*",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template*",
    "sentencepiece*.model",
    "spiece.model",
    "generation_config.json",
)


def write_sides(folder: Path | str, cut: Cut, out: Path | str) -> tuple[Path, Path]:
    """Writes ``out/client`` and ``out/server``: the whole ``config.json``, own weights only, and ``cut.json``.

    Tensors keep the whole checkpoint's names, so the two folders together are the checkpoint. Tokenizer and
    generation settings go to the client only. Memory: one file of the checkpoint at a time.

    Returns
    -------
    The client's and the server's folder.

    Raises
    ------
    ModelError : the cut is impossible, ``folder`` is a side already, or a folder to write exists.
    """
    folder, out = Path(folder), Path(out)
    if read_manifest(folder) is not None:
        raise ModelError(f"{str(folder)!r} is one side of a model already", "split the whole model")
    cut.check(read_config(folder))
    targets = out / "client", out / "server"
    for target in targets:
        if target.exists():
            raise ModelError(f"{str(target)!r} exists", "choose another folder, or remove it first")
    client = manifest(folder, cut, "client")
    out.mkdir(parents=True, exist_ok=True)
    for side, target in zip((client, replace(client, side="server")), targets, strict=True):
        temporary = Path(tempfile.mkdtemp(prefix=f".{side.side}-", dir=out))
        try:
            _write_side(folder, cut, side, temporary)
            temporary.chmod(0o755)
            os.rename(temporary, target)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    return targets


def _write_side(folder: Path, cut: Cut, side: Manifest, target: Path) -> None:
    shutil.copyfile(folder / "config.json", target / "config.json")
    config = read_config(folder)
    by_file: dict[Path, list[str]] = defaultdict(list)
    for name, file in tensor_files(folder).items():
        if owner(name, cut, config) == side.side:
            by_file[file].append(name)
    total = 0
    for file, names in by_file.items():
        tensors = read_weights(folder, names, digests=side.tensors)
        total += sum(tensor.nbytes for tensor in tensors.values())
        save_file(tensors, target / file.name, metadata={"format": "pt"})
    weight_map = {name: file.name for file, names in by_file.items() for name in names}
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    (target / INDEX_FILE).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    if side.side == "client":
        for file in sorted({found for pattern in CLIENT_FILES for found in folder.glob(pattern) if found.is_file()}):
            shutil.copyfile(file, target / file.name)
    side.write(target)
