"""A click model from open users: the warm start of FedPA, whose makers take no part in the federation afterwards."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.data.click_division import divide, vocabulary
from common.data.click_split import part_rows, split_clicks
from common.data.clicks import ClickLog
from common.data.split import Part
from common.errors import ConfigError, DataError
from common.evaluation.clicks import click_metrics
from common.recommenders.click.model import ITEM_ID, ClickModel, click_loss
from common.recommenders.click.warm_start import ClickBase, item_codes, open_fingerprints, shape_for, user_codes
from common.seeds import derive

ID_PACE = 0.02
"""Learning rate of items' own rows against the rest: an open user meets most items once, and learns them by heart."""

FORM = 1  # counts up when the same settings would give another model

Told = Callable[[int, float], None]
"""Called with the epochs so far and the best validation AUC."""


@dataclass(frozen=True)
class ClickPretraining:
    """The model's shape and how it learns (FedPA: Adam 1e-3, batches of 1,024).

    Parameters
    ----------
    open_share, division : who is open, see :func:`common.data.click_division.divide`.
    width : of each attribute's embedding. layers : widths of the hidden layers.
    item_ids : a row for every item beside its attributes.
    """

    open_share: float = 0.25
    division: int = 0
    width: int = 8
    layers: tuple[int, ...] = (32, 8)
    item_ids: bool = True
    epochs: int = 40
    batch: int = 1024
    learning_rate: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("open_share", "width", "epochs", "batch", "learning_rate"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ConfigError(f"{name} is {value!r}", "it must be above 0")
        if self.open_share >= 1 or not self.layers or min(self.layers) < 1:
            raise ConfigError(
                f"open share is {self.open_share!r}, layers are {self.layers!r}", "a share below 1; widths of 1 or more"
            )


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of open users.

    Attributes
    ----------
    users, items : attribute codes, int64 [n, U] and [n, I]. numbers : the items' positions in the log, int64 [n].
    clicks : float [n]. owners : whose row each is, int [n].
    """

    users: Tensor
    items: Tensor
    numbers: Tensor
    clicks: Tensor
    owners: Tensor

    @classmethod
    def of(cls, log: ClickLog, part: Part, item_ids: bool) -> Rows:
        """The rows of one part of a split log."""
        rows = part_rows(log, part)
        owners, numbers = (torch.from_numpy(column[rows].astype(np.int64)) for column in (log.users, log.items))
        clicks = torch.from_numpy(log.clicks[rows].astype(np.float32))
        return cls(user_codes(log)[owners], item_codes(log, item_ids)[numbers], numbers, clicks, owners)

    def __getitem__(self, chosen: Tensor) -> Rows:
        """Some of the rows."""
        return Rows(*(getattr(self, column.name)[chosen] for column in fields(self)))

    def metrics(self, model: ClickModel) -> dict[str, float | int | None]:
        """:func:`common.evaluation.clicks.click_metrics` of a model on these rows."""
        with torch.no_grad():
            return click_metrics(self.clicks.numpy(), model(self.users, self.items).numpy(), self.owners.numpy())


def pretrain_clicks(
    log: ClickLog, settings: ClickPretraining, folder: Path, told: Told = lambda *_: None
) -> dict[str, Any]:
    """Learn a click model from the open users of ``log`` and keep it in ``folder``.

    The epoch of the best AUC on the open users' validation rows counts. A folder that was made from the same log with the
    same settings stays as it is. Returns the record, with ``made`` False where it was there already.

    Raises
    ------
    ConfigError : the folder holds another model.
    DataError : too few open users to train and validate on.
    """
    digest = _digest(log, settings)
    if folder.exists():
        found = ClickBase.load(folder).record
        if found.get("digest") != digest:
            raise ConfigError(
                f"{str(folder)!r} holds a model of other data or settings", "choose another name, or delete it"
            )
        return dict(found) | {"made": False}
    began = time.perf_counter()
    model = ClickModel(
        shape_for(log, settings.width, settings.layers, settings.item_ids), derive(settings.seed, "click")
    )
    opened, fingerprints = open_rows(log, settings.open_share, settings.division, settings.item_ids)
    if settings.item_ids:
        # an item that no open user met has no say, rather than a random one
        torch.nn.init.zeros_(model.item_embeddings[ITEM_ID].get_parameter("weight"))
    best = fit(model, opened, settings, lambda batch: click_loss(model(batch.users, batch.items), batch.clicks), told)
    record = {
        "digest": digest,
        "set": {"name": log.name, "digest": log.digest, "vocabulary": vocabulary(log)},
        "division": {"open_share": settings.open_share, "seed": settings.division, "open": fingerprints},
        "item_ids": settings.item_ids,
        "settings": asdict(settings),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "epoch": best,
        "validation": opened[Part.VALID].metrics(model),
        "test": opened[Part.TEST].metrics(model),
        "seconds": round(time.perf_counter() - began, 3),
        "versions": {name: metadata.version(name) for name in ("torch", "numpy")},
    }
    ClickBase(model, record).save(folder)
    return record | {"made": True}


def open_rows(log: ClickLog, share: float, division: int, item_ids: bool) -> tuple[dict[Part, Rows], list[str]]:
    """The open users' rows by part, and their fingerprints; raises DataError where a part has none or one class only."""
    users = divide(log, share, division).open
    opened = split_clicks(log.restrict(users, log.name))
    rows = {part: Rows.of(opened, part, item_ids) for part in Part}
    for part, own in rows.items():
        if len(own.clicks.unique()) < 2:
            raise DataError(
                f"the {part.name.lower()} rows of {len(users)} open users of {log.name!r} are not of both classes",
                "raise the open share",
            )
    return rows, open_fingerprints(log, users)


def fit(
    model: ClickModel, rows: dict[Part, Rows], settings: ClickPretraining, loss: Callable[[Rows], Tensor], told: Told
) -> int:
    """Train by Adam on mini-batches; the model ends as it was after the epoch of the best validation AUC, which is returned."""
    table = f"item_embeddings.{ITEM_ID}.weight"
    ids = [p for name, p in model.named_parameters() if name == table]
    others = [p for name, p in model.named_parameters() if name != table]
    groups: list[dict[str, Any]] = [{"params": others}, {"params": ids, "lr": ID_PACE * settings.learning_rate}]
    optimiser = torch.optim.Adam(groups, lr=settings.learning_rate)
    order = torch.Generator().manual_seed(derive(settings.seed, "batches"))
    train, best, state, epoch = rows[Part.TRAIN], -1.0, copy.deepcopy(model.state_dict()), 0
    for number in range(1, settings.epochs + 1):
        for chosen in torch.randperm(len(train.clicks), generator=order).split(settings.batch):
            optimiser.zero_grad()
            loss(train[chosen]).backward()
            optimiser.step()
        auc = rows[Part.VALID].metrics(model)["auc"]
        if auc is not None and auc > best:
            best, state, epoch = auc, copy.deepcopy(model.state_dict()), number
        told(number, best)
    model.load_state_dict(state)
    model.eval()
    return epoch


def _digest(log: ClickLog, settings: ClickPretraining) -> str:
    text = json.dumps([FORM, log.digest, asdict(settings)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
