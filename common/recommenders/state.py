"""A recommender's trained tensors as one flat mapping: what is federated, saved and served."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from common.adapters.lora import load_trainable, trainable_shapes, trainable_state
from common.errors import ModelError
from common.low_rank import Adapter
from common.recommenders.recommender import Recommender

HEAD = "projection."


def trained_state(recommender: Recommender) -> Adapter:
    """Copies of all trained tensors by name: the backbone's as PEFT names them, the projection's under ``projection.``."""
    head = {
        HEAD + name: parameter.detach().cpu().clone() for name, parameter in recommender.projection.named_parameters()
    }
    return trainable_state(recommender.backbone) | head


def trained_shapes(recommender: Recommender) -> Adapter:
    """The trained tensors themselves, by the names of :func:`trained_state`; on the meta device these are shapes only."""
    head = {HEAD + name: parameter.detach() for name, parameter in recommender.projection.named_parameters()}
    return trainable_shapes(recommender.backbone) | head


def load_trained(recommender: Recommender, state: Mapping[str, Tensor]) -> None:
    """Puts ``state`` in the place of all trained tensors.

    Raises
    ------
    ModelError : a name is unknown or missing, a shape differs, or a value is not finite; nothing is changed then.
    """
    head = {name.removeprefix(HEAD): tensor for name, tensor in state.items() if name.startswith(HEAD)}
    own = dict(recommender.projection.named_parameters())
    if head.keys() != own.keys() or any(head[name].shape != own[name].shape for name in own):
        raise ModelError(
            f"projection tensors are { ({n: tuple(t.shape) for n, t in head.items()})!r}, "
            f"the model has { ({n: tuple(t.shape) for n, t in own.items()})!r}",
            "the adapter was made with another 'model.projection' or another model",
        )
    if not all(torch.isfinite(tensor).all() for tensor in head.values()):
        raise ModelError("a projection tensor holds a value that is not finite")
    load_trainable(recommender.backbone, {name: tensor for name, tensor in state.items() if not name.startswith(HEAD)})
    with torch.no_grad():
        for name, tensor in head.items():
            own[name].copy_(tensor)
