"""The hosted layers with room for many clients' adapters: each touches its own client's rows only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from common.errors import ConfigError, SplitError
from server_app.split.adapter import HostedAdapter
from server_app.split.settings import HostedLora


class Unmixable(SplitError):
    """A layer's input has no axis of rows, so clients cannot share a pass."""


@dataclass(frozen=True)
class Segment:
    """Rows ``begin .. end - 1`` of a batch belong to ``adapter``."""

    begin: int
    end: int
    adapter: HostedAdapter


@dataclass
class Roster:
    """Whose rows are in the pass under way; shared by all hosted layers, used by one thread."""

    segments: Sequence[Segment] = ()

    @property
    def rows(self) -> int:
        """Rows of the batch."""
        return self.segments[-1].end


class HostedLinear(nn.Module):
    """A frozen linear layer and, for the rows of each segment, ``+ B(A(x)) * alpha / r`` in PEFT's order of operations.

    Parameters
    ----------
    layer : the layer's path in the whole model.
    """

    def __init__(self, base: nn.Module, layer: str, scaling: float, roster: Roster) -> None:
        super().__init__()
        self.base = base
        self.layer = layer
        self.scaling = scaling
        self._roster = roster
        self._row_axis: int | None = None

    @property
    def weight(self) -> Tensor:
        """The base layer's; some models read it."""
        return cast(Tensor, self.base.weight)

    @property
    def bias(self) -> Tensor | None:
        """The base layer's."""
        return cast("Tensor | None", self.base.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[..., in] to [..., out].

        Raises
        ------
        Unmixable : several clients' rows are in the pass, and ``x`` does not show where.
        """
        result: Tensor = self.base(x)
        segments = self._roster.segments
        if not segments:
            return result
        axis = self._find_rows(x)
        x = x.float()
        if len(segments) == 1:
            delta = self._delta(segments[0].adapter, x)
        elif axis is None:
            raise Unmixable(f"the input of layer {self.layer!r} has shape {tuple(x.shape)!r}: no axis of rows")
        else:
            parts = [self._delta(one.adapter, x.narrow(axis, one.begin, one.end - one.begin)) for one in segments]
            delta = torch.cat(parts, axis)
        return (result + delta).to(result.dtype)

    def _delta(self, adapter: HostedAdapter, x: Tensor) -> Tensor:
        a, b = adapter.pair(self.layer)
        return nn.functional.linear(nn.functional.linear(x, a), b) * self.scaling

    def _find_rows(self, x: Tensor) -> int | None:
        """The axis of rows: the first in most models, the second in Longformer's projections.

        Where rows and columns are equally many, the shape does not tell: then what an earlier pass showed.
        """
        axes = [axis for axis, size in enumerate(x.shape[:-1]) if size == self._roster.rows]
        if x.ndim > 2 and len(axes) == 1:
            self._row_axis = axes[0]
        return self._row_axis if self._row_axis in axes else None


class HostedTrunk:
    """The middle layers of a model, frozen, with LoRA places on the target layers.

    Parameters
    ----------
    module : called as ``module(hidden [B,T,H], attention_mask, position_ids) -> hidden [B,T,H]``; it is changed in
        place.
    whole_name : from a layer's path in ``module`` to its path in the whole model.

    Attributes
    ----------
    shapes : (inputs, outputs) of each target layer, by its path in the whole model.
    mixable : whether rows of several clients may share a pass. generates : whether the module can keep a cache.
    graph_bytes : measured size of an autograd graph, by rows and width of the batch.

    Raises
    ------
    ConfigError : no target is a linear layer of the module.
    """

    def __init__(self, module: nn.Module, lora: HostedLora, whole_name: Callable[[str], str]) -> None:
        self.module = module.requires_grad_(False).eval()
        self.mixable = True
        self.generates: bool = getattr(module, "generates", False)
        self.shapes: dict[str, tuple[int, int]] = {}
        self.graph_bytes: dict[tuple[int, int], int] = {}
        self._roster = Roster()
        first = next(module.parameters())
        self.dtype, self.device = first.dtype, first.device
        self.storages = {parameter.untyped_storage().data_ptr() for parameter in module.parameters()}
        for path, base in list(module.named_modules()):
            if any(path == target or path.endswith(f".{target}") for target in lora.targets):
                layer = whole_name(path)
                self.shapes[layer] = _in_out(base, path)
                module.set_submodule(path, HostedLinear(base, layer, lora.alpha / lora.rank, self._roster))
        if not self.shapes:
            raise ConfigError(f"lora targets {lora.targets!r} name no hosted layer", "name linear layers of this model")

    def __call__(
        self,
        segments: Sequence[Segment],
        hidden: Tensor,
        mask: Tensor | None,
        positions: Tensor | None,
        cache: DynamicCache | None = None,
    ) -> Tensor:
        """One pass; the segments lie in the batch one behind the other. Without any, the base model's own.

        Parameters
        ----------
        cache : one that the module made; it grows by the pass.
        """
        mask = None if mask is None else mask.to(self.device)
        positions = None if positions is None else positions.to(self.device)
        with self._seated(segments):
            after: Tensor = self.module(hidden, mask, positions, *([] if cache is None else [cache]))
            return after

    @contextmanager
    def _seated(self, segments: Sequence[Segment]) -> Iterator[None]:
        self._roster.segments = segments
        try:
            yield
        finally:
            self._roster.segments = ()


def _in_out(layer: nn.Module, path: str) -> tuple[int, int]:
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    # GPT-2's Conv1D: a linear layer with its weight the other way round
    if type(layer).__name__ == "Conv1D":
        inputs, outputs = cast(Tensor, layer.weight).shape
        return inputs, outputs
    raise ConfigError(f"lora target {path!r} is a {type(layer).__name__}", "only linear layers can be adapted")
