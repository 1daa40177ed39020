"""A layer list with layers missing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn
from transformers import PreTrainedModel


class Layers(nn.ModuleList):
    """A model's layer list from which layers are missing: those left keep their index in the whole model as their
    name; iteration, length and indexing go by place.
    """

    def __init__(self, layers: dict[str, nn.Module]) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)

    def __iter__(self) -> Iterator[nn.Module]:
        return iter(self._modules.values())

    def __getitem__(self, place: int | slice) -> Any:
        return list(self._modules.values())[place]


def put_layers(base: PreTrainedModel, path: str, layers: dict[str, nn.Module], types: list[str] | None) -> None:
    """Replaces the layer list, and what in the configuration and the layers counts places in it.

    Longformer's ``attention_window`` stays whole: each layer has read its own, and the client must pad to the widest.
    """
    base.set_submodule(path, Layers(layers))
    base.config.num_hidden_layers = len(layers)
    if types:
        base.config.layer_types = types
    for place, layer in enumerate(layers.values()):
        for module in layer.modules():
            if hasattr(module, "layer_idx"):
                module.layer_idx = place  # type: ignore[assignment]  # torch knows tensors and modules only
