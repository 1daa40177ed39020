"""What each side of a cut has to hold, from shapes alone."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import PreTrainedConfig

from common.cut.families import read_config
from common.cut.names import owner
from common.cut.point import Cut
from common.cut.skeleton import skeleton
from common.cut.ties import settle_ties


def cost(
    model: Path | str | PreTrainedConfig, cut: Cut, causal: bool = False, dtype: torch.dtype = torch.float32
) -> dict[str, dict[str, int]]:
    """Base weights of each side and of the whole model; tied weights count once. Nothing is loaded.

    A folder tells also whether weights that its configuration ties are stored apart, and so count twice.

    Parameters
    ----------
    model : a model folder, or a configuration of the whole model.
    causal : with the language model head, which is the client's.
    dtype : in which the weights are held.

    Returns
    -------
    ``parameters`` (a count) and ``bytes`` for each of ``client``, ``server`` and ``whole``.

    Raises
    ------
    ModelError : the cut is impossible, or the model cannot be read.
    """
    config = model if isinstance(model, PreTrainedConfig) else read_config(model)
    cut.check(config)
    counts = {"client": 0, "server": 0}
    whole = skeleton(config, causal)
    if not isinstance(model, PreTrainedConfig):
        settle_ties(whole, model)
    for name, parameter in whole.named_parameters():
        counts[owner(name, cut, config)] += parameter.numel()
    counts["whole"] = sum(counts.values())
    return {side: {"parameters": count, "bytes": count * dtype.itemsize} for side, count in counts.items()}
