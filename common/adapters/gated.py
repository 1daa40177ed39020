"""FedPA's gated two-level adapter around one linear layer (arXiv 2405.04840, section 3).

For an input x the layer answers ``g_0 c + g_1 u + sum_k g_(1+k) s_k``: c is the pre-trained layer, frozen; u a low-rank
path that belongs to one user; s_k one low-rank path for each attribute that users are grouped by; and the gate
``g = softmax(W2 ReLU(W1 x + b1) + b2)`` weighs them input by input.

The module holds one client's paths. Many clients are the same module with stacked parameters, see
:mod:`common.adapters.many`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from common.adapters.lora import initial_a
from common.errors import ConfigError, ModelError


@dataclass(frozen=True)
class GatedSettings:
    """The adapters of a gated layer.

    Parameters
    ----------
    rank, alpha : of every low-rank path, ``(alpha / rank) B A x``.
    gate_width : hidden width of the gate; 0 has no gate, and the paths are added up as LoRA does.
    common_share : the gate's weight for the common path at the start, in (0, 1); the other paths share the rest.
    user : whether there is a user-level path.
    """

    rank: int = 4
    alpha: float = 1.0
    gate_width: int = 8
    common_share: float = 0.9
    user: bool = True

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ConfigError(f"adapter rank is {self.rank!r}", "it must be 1 or more")
        if not (math.isfinite(self.alpha) and self.alpha > 0):
            raise ConfigError(f"adapter alpha is {self.alpha!r}", "it must be a positive number")
        if self.gate_width < 0:
            raise ConfigError(f"gate width is {self.gate_width!r}", "it must be 0 (no gate) or more")
        if not 0 < self.common_share < 1:
            raise ConfigError(f"gate's common share is {self.common_share!r}", "it must be in (0, 1)")


class LowRank(nn.Module):
    """``(alpha / rank) B A x`` with A random and B zero: it starts as nothing, and moves.

    With both factors zero, as the paper's released code has them, each one's gradient is a product with the other and
    stays zero for ever.
    """

    def __init__(self, inputs: int, outputs: int, settings: GatedSettings, name: str, seed: int) -> None:
        super().__init__()
        self.lora_A = nn.Linear(inputs, settings.rank, bias=False)
        self.lora_B = nn.Linear(settings.rank, outputs, bias=False)
        self.scale = settings.alpha / settings.rank
        with torch.no_grad():
            self.lora_A.weight.copy_(initial_a(f"{name}.lora_A.weight", settings.rank, inputs, seed))
            self.lora_B.weight.zero_()

    def forward(self, x: Tensor) -> Tensor:
        low: Tensor = self.lora_B(self.lora_A(x))
        return self.scale * low


class Gate(nn.Module):
    """The weights of the paths, [..., paths], from the layer's input [..., d_in]; the same for every input at first."""

    def __init__(self, inputs: int, paths: int, settings: GatedSettings, name: str, seed: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(inputs, settings.gate_width)
        self.paths = nn.Linear(settings.gate_width, paths)
        share = settings.common_share
        with torch.no_grad():
            self.hidden.weight.copy_(initial_a(f"{name}.hidden.weight", settings.gate_width, inputs, seed))
            self.hidden.bias.zero_()
            self.paths.weight.zero_()
            self.paths.bias.zero_()
            self.paths.bias[0] = math.log(share / (1 - share) * (paths - 1))

    def forward(self, x: Tensor) -> Tensor:
        paths: Tensor = self.paths(torch.relu(self.hidden(x)))
        return paths.softmax(dim=-1)


class GatedLinear(nn.Module):
    """A linear layer with its adapters and their gate; see the module's text.

    Parameters
    ----------
    common : the pre-trained layer, [..., d_in] to [..., d_out]; frozen here.
    groups : names of the attributes that users are grouped by, one low-rank path each.
    settings : of all paths and the gate.
    name : the layer's path in the whole model; with ``seed`` it decides the initial values.
    activation : applied to the common path only, as the paper has it (ReLU); None for the layer as it is.

    Raises
    ------
    ConfigError : a group's name cannot stand in a tensor's name or stands twice, or no path is left to adapt.
    ModelError : ``common`` is no linear layer.
    """

    def __init__(
        self,
        common: nn.Module,
        groups: Sequence[str],
        settings: GatedSettings,
        name: str,
        seed: int,
        activation: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        inputs, outputs = _widths(common, name)
        for group in groups:
            if not group.isidentifier() or group in dir(nn.ModuleDict) or list(groups).count(group) > 1:
                raise ConfigError(f"group attribute {group!r} of {list(groups)!r}", "give each a name of its own")
        if not (settings.user or groups):
            raise ConfigError("adapters have neither a user-level nor a group-level path", "switch one on")
        self.common = common.requires_grad_(False)
        self.activation = activation
        self.user = LowRank(inputs, outputs, settings, f"{name}.user", seed) if settings.user else None
        self.groups = nn.ModuleDict(
            {group: LowRank(inputs, outputs, settings, f"{name}.groups.{group}", seed) for group in groups}
        )
        paths = 1 + settings.user + len(groups)
        self.gate = Gate(inputs, paths, settings, f"{name}.gate", seed) if settings.gate_width else None

    def forward(self, x: Tensor) -> Tensor:
        common = self.common(x)
        paths = [common if self.activation is None else self.activation(common)]
        paths += [] if self.user is None else [self.user(x)]
        paths += [group(x) for group in self.groups.values()]
        if self.gate is None:
            return torch.stack(paths).sum(dim=0)
        weights: Tensor = self.gate(x)
        return (torch.stack(paths, dim=-1) @ weights.unsqueeze(-1)).squeeze(-1)


def add_gated(
    model: nn.Module, layers: Sequence[str], groups: Sequence[str], settings: GatedSettings, seed: int
) -> nn.Module:
    """The model, frozen, with gated adapters in place of every linear layer whose path ends in one of ``layers``.

    Raises ModelError where a name fits no linear layer.
    """
    found = {name: module for name, module in model.named_modules() if name.rsplit(".", 1)[-1] in layers}
    for layer in layers:
        if not any(name.rsplit(".", 1)[-1] == layer for name in found):
            raise ModelError(f"adapter target {layer!r} is no layer of this model", "name the last part of its path")
    model.requires_grad_(False)
    for name, module in found.items():
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, GatedLinear(module, groups, settings, name, seed))
    return model


def _widths(linear: nn.Module, name: str) -> tuple[int, int]:
    if isinstance(linear, Conv1D):
        return linear.nx, linear.nf
    inputs, outputs = getattr(linear, "in_features", None), getattr(linear, "out_features", None)
    if isinstance(inputs, int) and isinstance(outputs, int):
        return inputs, outputs
    raise ModelError(f"layer {name!r} is a {type(linear).__name__}, no linear layer", "adapt linear layers only")
