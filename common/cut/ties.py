"""Weights that a configuration ties to others, and what a checkpoint stores of them."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedModel

from common.cut.tensors import stored_tensors
from common.cut.weights import stored_name, tensor_files


def settle_ties(model: PreTrainedModel, folder: Path | str) -> dict[str, str]:
    """Ties a model's weights as transformers would when it loads the checkpoint; changes the model in place.

    ``tie_word_embeddings`` in ``config.json`` is a default of many families. A checkpoint that stores both weights, with
    other values, is right against it: then each gets a place of its own.

    Returns
    -------
    The name to read a tied weight by, where the checkpoint lacks the model's own name for it.

    Raises
    ------
    ModelError : the folder's weights cannot be read.
    """
    files, elsewhere, apart = tensor_files(folder), {}, False
    for target, source in model.get_expanded_tied_weights_keys(all_submodels=True).items():
        tied, own = stored_name(target, files), stored_name(source, files)
        if own is None and tied is not None:
            elsewhere[source] = target
        elif tied is not None and own is not None and not _same(files, tied, own):
            _give_own_place(model, target)
            apart = True
    if apart:
        model.config.tie_word_embeddings = False
        model.all_tied_weights_keys = model.get_expanded_tied_weights_keys(all_submodels=True)
    return elsewhere


def _same(files: dict[str, Path], first: str, second: str) -> bool:
    one, other = (next(stored_tensors(files[name], [name])) for name in (first, second))
    return one.dtype == other.dtype and torch.equal(one, other)


def _give_own_place(model: nn.Module, name: str) -> None:
    path, _, attribute = name.rpartition(".")
    parent = model.get_submodule(path)
    setattr(parent, attribute, nn.Parameter(torch.empty_like(getattr(parent, attribute), device="meta")))
