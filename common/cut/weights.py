"""Reading a model's weights from safetensors by name, whole or sharded, and only those asked for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from common.cut.families import FAMILIES, read_json
from common.errors import ModelError

WHOLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
PREFIXES = sorted({f"{family.prefix}." for family in FAMILIES.values()})
# checkpoints converted from TensorFlow name a norm's parameters so
LEGACY_ENDINGS = {"LayerNorm.weight": "LayerNorm.gamma", "LayerNorm.bias": "LayerNorm.beta"}


def tensor_files(folder: Path | str) -> dict[str, Path]:
    """Which file holds each tensor of a model folder, by the name stored there.

    Raises
    ------
    ModelError : there are no safetensors, or the index is malformed, points outside the folder or at a missing file.
    """
    folder = Path(folder)
    if (folder / INDEX_FILE).is_file():
        weight_map = read_json(folder / INDEX_FILE).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise ModelError(f"{INDEX_FILE!r} in {str(folder)!r} has no weight_map", "fetch the model again")
        for file in weight_map.values():
            if not isinstance(file, str) or Path(file).name != file or not (folder / file).is_file():
                raise ModelError(f"{INDEX_FILE!r} names {file!r}, which is not in {str(folder)!r}", "fetch it again")
        return {name: folder / file for name, file in weight_map.items()}
    if (folder / WHOLE_FILE).is_file():
        return dict.fromkeys(_names_in(folder / WHOLE_FILE), folder / WHOLE_FILE)
    raise ModelError(
        f"{str(folder)!r} holds neither {WHOLE_FILE!r} nor {INDEX_FILE!r}",
        "fellrec reads no pickles; where you trust the file, convert it once with"
        " AutoModelForCausalLM (or AutoModel).from_pretrained(folder).save_pretrained(folder)",
    )


def stored_name(name: str, stored: Collection[str]) -> str | None:
    """What a checkpoint calls a parameter, None if it lacks it.

    A checkpoint may be saved from a model with a head and read without one, or the reverse.
    """
    candidates = [name, *(prefix + name for prefix in PREFIXES)]
    candidates += [name.removeprefix(prefix) for prefix in PREFIXES if name.startswith(prefix)]
    for ending, legacy in LEGACY_ENDINGS.items():
        candidates += [one.removesuffix(ending) + legacy for one in candidates if one.endswith(ending)]
    return next((one for one in candidates if one in stored), None)


def read_weights(folder: Path | str, names: Iterable[str], dtype: torch.dtype | None = None) -> dict[str, Tensor]:
    """The named tensors, each with memory of its own; nothing else in the files is read.

    Parameters
    ----------
    names : parameter names as the model has them; prefixes of the checkpoint are found by themselves.
    dtype : floating point tensors are converted to it; None keeps the stored one.

    Raises
    ------
    ModelError : a tensor is missing or holds a value that is not finite, or a file cannot be read.
    """
    files = tensor_files(folder)
    wanted = {name: stored_name(name, files) for name in names}
    if missing := [name for name, stored in wanted.items() if stored is None]:
        raise ModelError(
            f"{str(folder)!r} lacks {len(missing)} tensors, among them {missing[0]!r}",
            "a checkpoint saved without its head has no lm_head; a side's folder holds that side's tensors only",
        )
    by_file: dict[Path, dict[str, str]] = defaultdict(dict)
    for name, stored in wanted.items():
        by_file[files[stored]][name] = stored
    return {name: tensor for file, group in by_file.items() for name, tensor in _read(file, group, dtype).items()}


def _read(file: Path, group: Mapping[str, str], dtype: torch.dtype | None) -> dict[str, Tensor]:
    tensors = {}
    try:
        with safe_open(file, framework="pt") as opened:
            for name, stored in group.items():
                tensor = opened.get_tensor(stored)
                floating = tensor.is_floating_point()
                if floating and not torch.isfinite(tensor).all():
                    raise ModelError(f"tensor {stored!r} in {str(file)!r} holds a value that is not finite")
                # a copy, for the file's tensor is a view into the mapped file
                tensors[name] = tensor.to(dtype if dtype and floating else tensor.dtype, copy=True)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{str(file)!r} cannot be read: {error}", "fetch the model again") from error
    return tensors


def _names_in(file: Path) -> list[str]:
    try:
        with safe_open(file, framework="pt") as opened:
            return list(opened.keys())
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{str(file)!r} cannot be read: {error}", "fetch the model again") from error
