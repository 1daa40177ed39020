"""The click model of FedPA (arXiv 2405.04840): attribute embeddings, two layers, the probability of a click.

``x_0 = [user attribute embeddings | item attribute embeddings]``, ReLU layers, an affine layer to one logit. Plain, it
is what is pre-trained on open users; :meth:`ClickModel.adapt` puts the gated two-level adapters around its layers.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from common.adapters.gated import GatedLinear, GatedSettings
from common.errors import ConfigError, ModelError
from common.scopes import Owner, owner_of

ITEM_ID = "item_id"
"""The attribute that tells every item apart, where a model has it."""


@dataclass(frozen=True)
class ClickShape:
    """The model's sizes.

    Parameters
    ----------
    users, items : Mapping[str, int]
        Number of codes of each attribute by its name, code 0 (not known) included.
    width : int
        Width of each attribute's embedding.
    layers : tuple of int
        Widths of the hidden layers.
    """

    users: Mapping[str, int]
    items: Mapping[str, int]
    width: int = 8
    layers: tuple[int, ...] = field(default=(32, 8))

    def __post_init__(self) -> None:
        for name, count in (*self.users.items(), *self.items.items()):
            if not name.isidentifier() or count < 1:
                raise ConfigError(f"attribute {name!r} has {count!r} codes", "name it by a word; 1 code or more")
        if not self.items or self.width < 1 or not self.layers or min(self.layers) < 1:
            raise ConfigError(f"click model of {self!r}", "give item attributes, a width and layers of 1 or more")


class ClickModel(nn.Module):
    """Logits of clicks; all initial values come from ``seed`` alone."""

    def __init__(self, shape: ClickShape, seed: int) -> None:
        super().__init__()
        self.shape = shape
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.user_embeddings = _embeddings(shape.users, shape.width)
            self.item_embeddings = _embeddings(shape.items, shape.width)
            inputs = shape.width * (len(shape.users) + len(shape.items))
            widths = zip((inputs, *shape.layers[:-1]), shape.layers, strict=True)
            self.layers = nn.ModuleList(nn.Linear(d_in, d_out) for d_in, d_out in widths)
            self.output = nn.Linear(shape.layers[-1], 1)

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """Logits [...] for attribute codes of users [..., U] and of items [..., I], int64."""
        tables = (*self.user_embeddings.values(), *self.item_embeddings.values())
        codes = (*users.unbind(dim=-1), *items.unbind(dim=-1))
        x = torch.cat([table(code) for table, code in zip(tables, codes, strict=True)], dim=-1)
        for layer in self.layers:
            x = layer(x) if isinstance(layer, GatedLinear) else torch.relu(layer(x))
        logits: Tensor = self.output(x).squeeze(-1)
        return logits

    def plain(self) -> ClickModel:
        """A copy that is trained as it is, but for the row of every item's own id: each client would send all of them."""
        model = copy.deepcopy(self)
        if ITEM_ID in model.item_embeddings:
            model.item_embeddings[ITEM_ID].requires_grad_(False)
        return model

    def owners(self) -> dict[str, Owner]:
        """Whom each tensor is about, by its name (arXiv 2405.04840, section 3)."""
        return {
            name: owner_of(name) if parameter.requires_grad else Owner.NOBODY
            for name, parameter in self.named_parameters()
        }

    def adapt(self, groups: Sequence[str], settings: Sequence[GatedSettings] | GatedSettings, seed: int) -> ClickModel:
        """A copy with adapters around every layer; the layers and the item embeddings are frozen.

        ``settings`` : one for all layers, or one each; the paper's gates are 8 and 4 wide.

        Raises ConfigError where a group is no user attribute or the settings do not fit the layers.
        """
        each = [settings] * len(self.layers) if isinstance(settings, GatedSettings) else list(settings)
        unknown = [group for group in groups if group not in self.shape.users]
        if unknown or len(each) != len(self.layers):
            raise ConfigError(
                f"adapters of {len(self.layers)!r} layers with {len(each)!r} settings, grouped by {list(groups)!r}",
                f"group by {', '.join(self.shape.users) or 'nothing'}; give one setting for all layers, or one each",
            )
        if any(isinstance(layer, GatedLinear) for layer in self.layers):
            raise ModelError("this click model has adapters", "adapt the plain one")
        adapted = copy.deepcopy(self)
        adapted.item_embeddings.requires_grad_(False)
        for place, (layer, own) in enumerate(zip(adapted.layers, each, strict=True)):
            adapted.layers[place] = GatedLinear(layer, groups, own, f"layers.{place}", seed, torch.relu)
        return adapted


def click_loss(logits: Tensor, clicks: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean binary cross-entropy over the last axis, [...]; where ``mask`` is false a place does not count."""
    losses = binary_cross_entropy_with_logits(logits, clicks.to(logits.dtype), reduction="none")
    if mask is None:
        return losses.mean(dim=-1)
    return (losses * mask).sum(dim=-1) / mask.sum(dim=-1).clamp(min=1)


def _embeddings(attributes: Mapping[str, int], width: int) -> nn.ModuleDict:
    tables = {name: nn.Embedding(count, width) for name, count in attributes.items()}
    for table in tables.values():
        nn.init.normal_(table.weight, std=1 / math.sqrt(width))
    return nn.ModuleDict(tables)
