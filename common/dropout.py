"""Dropout of a base model, off wherever a model keeps it."""

from __future__ import annotations

from torch import nn
from transformers import PreTrainedConfig

KINDS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)


def without_dropout(model: nn.Module) -> nn.Module:
    """Turns off every dropout of a model, in place, in training mode too.

    A frozen base has nothing to regularise. And the layers of a cut model run in two processes, which cannot draw alike:
    with dropout on either side a split would train something else than the whole model does.

    Some models hold a module for it, others a number that goes to a function (Longformer's attention,
    ``attention_dropout`` of Llama and its like), and some read their configuration in each call.
    """
    for module in model.modules():
        if isinstance(module, KINDS):
            module.p = 0.0
        _clear(module)
    return model


def _clear(holder: nn.Module | PreTrainedConfig) -> None:
    for name, value in list(vars(holder).items()):
        if "drop" in name and isinstance(value, float):
            setattr(holder, name, 0.0)
        elif isinstance(value, PreTrainedConfig):
            _clear(value)
