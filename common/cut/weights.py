"""Reading a model's weights from safetensors by name, whole or sharded, and only those asked for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from common.cut.families import FAMILIES, read_json
from common.cut.tensors import stored_tensors, tensor_digest, tensor_names
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
        return dict.fromkeys(tensor_names(folder / WHOLE_FILE), folder / WHOLE_FILE)
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


def read_weights(
    folder: Path | str,
    names: Iterable[str],
    dtype: torch.dtype | None = None,
    digests: Mapping[str, str] | None = None,
) -> dict[str, Tensor]:
    """The named tensors, each with memory of its own; nothing else in the files is read.

    Parameters
    ----------
    names : parameter names as the model has them; prefixes of the checkpoint are found by themselves.
    dtype : floating point tensors are converted to it; None keeps the stored one.
    digests : of each tensor, by the name stored, as ``tensor_digest`` makes them; None checks nothing.

    Raises
    ------
    ModelError : a tensor is missing, is not that of its digest or holds a value that is not finite, or a file cannot be
        read.
    """
    files = tensor_files(folder)
    wanted: dict[str, str] = {}
    missing: list[str] = []
    for name in names:
        stored = stored_name(name, files)
        if stored is None:
            missing.append(name)
        else:
            wanted[name] = stored
    if missing:
        raise ModelError(
            f"{str(folder)!r} lacks {len(missing)} tensors, among them {missing[0]!r}",
            "a checkpoint saved without its head has no lm_head; a side's folder holds that side's tensors only",
        )
    by_file: dict[Path, dict[str, str]] = defaultdict(dict)
    for name, stored in wanted.items():
        by_file[files[stored]][name] = stored
    weights: dict[str, Tensor] = {}
    for file, group in by_file.items():
        weights |= _read(file, group, dtype, digests)
    return weights


def _read(
    file: Path, group: Mapping[str, str], dtype: torch.dtype | None, digests: Mapping[str, str] | None
) -> dict[str, Tensor]:
    tensors = {}
    for (name, stored), tensor in zip(group.items(), stored_tensors(file, group.values()), strict=True):
        if digests is not None and tensor_digest(stored, tensor) != digests.get(stored):
            raise ModelError(
                f"tensor {stored!r} in {str(file)!r} is not the one that the model was split into",
                "copy the side's folder again, or split the whole model again",
            )
        floating = tensor.is_floating_point()
        # a copy, for the file's tensor is a view into the mapped file
        tensors[name] = tensor.to(dtype if dtype and floating else tensor.dtype, copy=True)
        if floating and not _is_finite(tensors[name]):
            raise ModelError(
                f"tensor {stored!r} in {str(file)!r} holds a value that is not finite in {tensors[name].dtype}"
            )
    return tensors


def _is_finite(tensor: Tensor) -> bool:
    """As ``isfinite(tensor).all()``, without its tensors of the same size, which leave holes between the weights."""
    one_byte = tensor.dtype.itemsize == 1  # torch finds no extremes in these
    return not tensor.numel() or all(one.isfinite() for one in (tensor.float() if one_byte else tensor).aminmax())
