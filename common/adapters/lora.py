"""What of a backbone is trained: low-rank adapters through PEFT (LoRA, arXiv 2106.09685), or all of it.

PEFT is called through its declared surface only: ``get_peft_model``, ``get_peft_model_state_dict`` and
``set_peft_model_state_dict``.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from common.dropout import without_dropout
from common.errors import ConfigError, ModelError


@dataclass(frozen=True)
class LoraSettings:
    """LoRA of one rank on every chosen linear layer: ``W x + (alpha / rank) B A x``.

    ``targets`` names the layers by the last part of their path, separated by commas; empty takes what PEFT knows for
    the model's type.
    """

    rank: int = 8
    alpha: float = 16.0
    dropout: float = 0.05
    targets: str = ""

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ConfigError(f"lora rank is {self.rank!r}", "it must be 1 or more")
        if not (math.isfinite(self.alpha) and self.alpha > 0):
            raise ConfigError(f"lora alpha is {self.alpha!r}", "it must be a positive number")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"lora dropout is {self.dropout!r}", "it must be in [0, 1)")


def add_lora(backbone: PreTrainedModel, settings: LoraSettings, seed: int, also: Sequence[str] = ()) -> PeftModel:
    """The backbone, frozen and without dropout of its own, with adapters: A drawn from ``seed``, B zero, so that it
    starts as it was.

    A's values depend on the seed and on the layer's name only, not on which other layers the model holds: all clients
    start alike, and so do the two sides of a cut model. ``also`` names modules that are trained in full beside the
    adapters.

    Raises
    ------
    ModelError : no such layers, or PEFT knows no default for this type of model.
    """
    targets = [name.strip() for name in settings.targets.split(",") if name.strip()]
    config = LoraConfig(
        r=settings.rank,
        lora_dropout=settings.dropout,
        target_modules=targets or None,
        modules_to_save=list(also) or None,
        init_lora_weights=True,
        lora_alpha=settings.alpha,  # type: ignore[arg-type]  # PEFT divides it, whole or not
    )
    linear = _linear_layers(without_dropout(backbone))
    unknown = [name for name in targets if name not in linear]
    if unknown:
        raise ModelError(f"lora target {unknown[0]!r} is no linear layer of this model", _choices(linear))
    try:
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            # PEFT asks transformers for an attribute by its old name
            warnings.simplefilter("ignore", FutureWarning)
            model = get_peft_model(backbone, config)
    except ValueError as error:
        kind = backbone.config.model_type
        raise ModelError(f"PEFT knows no default lora targets for model type {kind!r}", _choices(linear)) from error
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_A." in name:
                rank, inputs = parameter.shape
                parameter.copy_(initial_a(name.replace(".default.", "."), rank, inputs, seed))
    return model


def initial_a(name: str, rank: int, inputs: int, seed: int) -> Tensor:
    """The factor A [rank, inputs] that a layer starts with, drawn from the seed and the tensor's name in the whole model.

    ``name`` is PEFT's in a saved adapter: ``base_model.model.<layer>.lora_A.weight``.
    """
    digest = hashlib.blake2b(f"{seed}/{name}".encode(), digest_size=8).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)
    # the bound of PEFT's own initialisation: kaiming uniform with a = sqrt(5)
    return (2 * torch.rand(rank, inputs, generator=generator) - 1) * (1 / math.sqrt(inputs))


def targets_of(model_type: str, targets: str) -> tuple[str, ...]:
    """The layer names that ``targets`` stands for: its parts, or where it is empty what PEFT knows for the model's type.

    Raises
    ------
    ModelError : PEFT knows none.
    """
    named = tuple(name.strip() for name in targets.split(",") if name.strip())
    known = TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING.get(model_type, ())
    if not (named or known):
        raise ModelError(
            f"PEFT knows no default lora targets for model type {model_type!r}", "name some in 'model.lora-targets'"
        )
    return named or tuple(known)


def train_fully(backbone: PreTrainedModel) -> PreTrainedModel:
    """The backbone with every parameter trained."""
    return backbone.requires_grad_(True)


def trainable_state(model: nn.Module) -> dict[str, Tensor]:
    """What is trained, by name, as detached copies in main memory."""
    return {name: tensor.to("cpu", copy=True).contiguous() for name, tensor in trainable_shapes(model).items()}


def trainable_shapes(model: nn.Module) -> dict[str, Tensor]:
    """What is trained, by name and in order, as it stands in the model; on the meta device these are shapes only."""
    if isinstance(model, PeftModel):
        state = get_peft_model_state_dict(model, save_embedding_layers=False)
    else:
        state = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    return {name: tensor.detach() for name, tensor in sorted(state.items())}


def load_trainable(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Puts ``state`` in the place of what is trained; nothing is changed where it is refused.

    Raises
    ------
    ModelError : a name is unknown or missing, a shape differs, or a value is not finite.
    """
    own = trainable_state(model)
    for name in sorted(own.keys() ^ state.keys()):
        fault = "is missing" if name in own else "is unknown to this model"
        raise ModelError(f"trained tensor {name!r} {fault}", "the adapter was made for another model or other targets")
    for name, tensor in state.items():
        if tensor.shape != own[name].shape:
            raise ModelError(
                f"trained tensor {name!r} has shape {tuple(tensor.shape)!r}, not {tuple(own[name].shape)!r}",
                "the adapter was made with another rank or for another model",
            )
        if not torch.isfinite(tensor).all():
            raise ModelError(f"trained tensor {name!r} holds a value that is not finite")
    if isinstance(model, PeftModel):
        set_peft_model_state_dict(model, dict(state))
        return
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, tensor in state.items():
            parameters[name].copy_(tensor)


def _linear_layers(backbone: nn.Module) -> set[str]:
    """The last part of every linear layer's path."""
    return {
        name.rsplit(".", 1)[-1] for name, module in backbone.named_modules() if isinstance(module, nn.Linear | Conv1D)
    }


def _choices(linear: set[str]) -> str:
    return f"name some of its linear layers in the lora targets: {', '.join(sorted(linear))}"
