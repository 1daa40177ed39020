"""The click model of a run: its warm start, the adapters around it, and the scope of every tensor."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from common.adapters.gated import GatedSettings
from common.config import ClickConfig, FedpaConfig, RunConfig
from common.errors import ConfigError, ModelError
from common.models import resolve
from common.recommenders.click.model import ClickModel
from common.recommenders.click.warm_start import ClickBase
from common.scopes import MIXED, Scope, scopes_of


@dataclass(frozen=True, eq=False)
class ClickRun:
    """What a click model's run computes with.

    Attributes
    ----------
    base : the warm start.
    model : plain under ``fedavg``, else with adapters.
    groups : the attributes that users are grouped by, each with its number of values.
    scopes : of every tensor of ``model``, by name.
    """

    base: ClickBase
    model: ClickModel
    groups: dict[str, int]
    scopes: dict[str, Scope]

    def start(self, *scopes: Scope) -> dict[str, Tensor]:
        """The tensors of these scopes (by default all that are trained) as the run starts: one group's path for all groups."""
        scopes = scopes or (Scope.PRIVATE, *MIXED)
        state = self.model.state_dict()
        return {name: state[name].detach().clone() for name in state if self.scopes[name] in scopes}

    def of_client(self, trained: Mapping[str, Tensor]) -> ClickModel:
        """A copy of the model with all trained tensors of one client.

        Raises
        ------
        ModelError : names or shapes are not those of this model, or values are not finite.
        """
        own = self.start()
        wrong = sorted(trained.keys() ^ own.keys())
        wrong += [name for name in own.keys() & trained.keys() if trained[name].shape != own[name].shape]
        if wrong:
            raise ModelError(
                f"the client's tensor {wrong[0]!r} does not fit the run's click model",
                "restore the warm start that the run began with",
            )
        if not all(torch.isfinite(tensor).all() for tensor in trained.values()):
            raise ModelError("the client's tensors hold values that are not finite", "run again")
        model = copy.deepcopy(self.model)
        model.load_state_dict(self.model.state_dict() | dict(trained))
        return model.requires_grad_(False)


def click_run(config: RunConfig) -> ClickRun:
    """The click model of a configuration, kept while the process lives: it holds no client's data.

    Raises
    ------
    ModelError : the warm start is missing or damaged.
    ConfigError : groups or gates that do not fit it.
    """
    folder = resolve(config.model.name)
    stamp = (folder / "config.json").stat().st_mtime_ns
    return _build(str(folder), stamp, config.model.name, config.click, config.fedpa, config.strategy.name, config.seed)


@lru_cache(maxsize=1)
def _build(
    folder: str, stamp: int, name: str, click: ClickConfig, fedpa: FedpaConfig, strategy: str, seed: int
) -> ClickRun:
    base = ClickBase.load(resolve(name))
    shape = base.model.shape
    groups = [group.strip() for group in click.group_by.split(",") if group.strip()] or list(shape.users)
    unknown = [group for group in groups if group not in shape.users or groups.count(group) > 1]
    if unknown:
        raise ConfigError(
            f"'click.group-by' = {click.group_by!r}: {unknown[0]!r} is unknown or stands twice",
            f"the log's user attributes are {', '.join(shape.users)}",
        )
    model = base.model.plain() if strategy == "fedavg" else _adapted(base.model, groups, fedpa, seed)
    scopes = scopes_of(strategy, model.owners())
    return ClickRun(base, model.eval(), {group: shape.users[group] for group in groups}, scopes)


def _adapted(model: ClickModel, groups: list[str], fedpa: FedpaConfig, seed: int) -> ClickModel:
    widths = [int(width) for width in fedpa.gate_width.split(",")]
    if len(widths) not in (1, len(model.layers)):
        raise ConfigError(
            f"'fedpa.gate-width' = {fedpa.gate_width!r} has {len(widths)} widths, the model {len(model.layers)} layers",
            "give one for each layer, or one for all",
        )
    widths = widths * len(model.layers) if len(widths) == 1 else widths
    settings = [
        GatedSettings(fedpa.rank, fedpa.alpha, width if fedpa.gate else 0, fedpa.common_share, fedpa.user_adapter)
        for width in widths
    ]
    return model.adapt(groups if fedpa.group_adapters else (), settings, seed)
