"""A pre-trained click model on disk: ``model.safetensors`` and ``config.json``, which says what it was made from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from common.data.click_division import divide, fingerprint, vocabulary
from common.data.clicks import ClickLog
from common.data.place import placed
from common.errors import ConfigError, DataError, ModelError
from common.recommenders.click.model import ITEM_ID, ClickModel, ClickShape

SCHEMA = 1
CONFIG, WEIGHTS = "config.json", "model.safetensors"


@dataclass(frozen=True, eq=False)
class ClickBase:
    """A plain click model and its record.

    Attributes
    ----------
    record : ``set`` (name, digest, vocabulary), ``division`` (open_share, seed, the open users' fingerprints), ``item_ids``, and
        whatever else its maker noted.
    """

    model: ClickModel
    record: Mapping[str, Any]

    @property
    def item_ids(self) -> bool:
        """Whether the model tells every item apart."""
        return bool(self.record["item_ids"])

    def save(self, folder: Path) -> None:
        """Write both files; the folder appears whole or not at all."""
        shape = asdict(self.model.shape)
        record = {"schema": SCHEMA, "kind": "click", "shape": shape, **self.record}
        with placed(folder) as building:
            tensors = {name: tensor.detach().contiguous() for name, tensor in self.model.state_dict().items()}
            save_file(tensors, building / WEIGHTS)
            text = json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False)
            (building / CONFIG).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> ClickBase:
        """Read what :meth:`save` wrote; raises ModelError where it is missing, damaged, or no click model."""
        try:
            record = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
            if record.get("kind") != "click" or record.get("schema") != SCHEMA:
                raise ModelError(f"{str(folder)!r} holds no click model of schema {SCHEMA}", _MAKE)
            shape = record["shape"]
            users, items = (
                {str(name): int(count) for name, count in shape[what].items()} for what in ("users", "items")
            )
            model = ClickModel(ClickShape(users, items, int(shape["width"]), tuple(map(int, shape["layers"]))), seed=0)
            model.load_state_dict(load_file(folder / WEIGHTS))
            base = cls(model.eval(), record)
            _ = (
                base.item_ids,
                record["set"]["digest"],
                record["set"]["vocabulary"],
                record["division"]["open_share"],
                record["division"]["seed"],
                frozenset(record["division"]["open"]),
            )
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
            raise ModelError(f"the click model in {str(folder)!r} cannot be loaded: {error}", _MAKE) from error
        if not all(torch.isfinite(tensor).all() for tensor in model.state_dict().values()):
            raise ModelError(f"the click model in {str(folder)!r} holds values that are not finite", _MAKE)
        return base

    def check(self, log: ClickLog, users: Iterable[str]) -> None:
        """Refuse a model whose codes mean something else in this log, or that was made from one of these users' rows.

        Raises
        ------
        ModelError : naming what differs.
        """
        if self.record["set"]["vocabulary"] != vocabulary(log):
            raise ModelError(
                f"the click model was made on {self.record['set']['name']!r}, whose items or attributes are not those of "
                f"{log.name!r}",
                _MAKE,
            )
        made_from = frozenset(self.record["division"]["open"])
        if any(fingerprint(self.record["set"]["digest"], user) in made_from for user in users):
            raise ModelError("the click model was made from the rows of one of the clients", _MAKE)

    def check_division(self, log: ClickLog, open_share: float, seed: int) -> None:
        """Refuse a model that was made on another log, or from other open users than these settings give.

        Raises
        ------
        ModelError : naming what differs.
        """
        known = self.record["set"]
        if known["digest"] != log.digest:
            raise ModelError(
                f"the click model was made on {known['name']!r} of digest {known['digest'][:12]}, the log "
                f"{log.name!r} has {log.digest[:12]}",
                _MAKE,
            )
        division = self.record["division"]
        expected = open_fingerprints(log, divide(log, open_share, seed).open)
        if sorted(division["open"]) != sorted(expected):
            raise ModelError(
                f"the click model was made with an open share of {division['open_share']!r} and division "
                f"{division['seed']!r}, the run has {open_share!r} and {seed!r}",
                "set 'click.open-share' and 'click.division' to the model's, or make another model",
            )


def open_fingerprints(log: ClickLog, users: np.ndarray) -> list[str]:
    """The fingerprints of users (positions) of a whole log."""
    return [fingerprint(log.digest, log.user_keys[user]) for user in users]


def shape_for(log: ClickLog, width: int, layers: tuple[int, ...], item_ids: bool) -> ClickShape:
    """The shape of a model for a log; with ``item_ids`` every item has a row of its own.

    Raises
    ------
    ConfigError : a size below 1.
    DataError : the log has no user attributes, or one that is called as the items' ids.
    """
    if not log.user_attributes.names:
        raise DataError(f"click log {log.name!r} has no user attributes", "FedPA groups clients by them")
    items = log.item_attributes.sizes
    if item_ids and ITEM_ID in items:
        raise DataError(f"click log {log.name!r} has an item attribute {ITEM_ID!r}", "make the model without item ids")
    if not items and not item_ids:
        raise ConfigError(f"click log {log.name!r} has no item attributes", "make the model with item ids")
    return ClickShape(
        log.user_attributes.sizes, items | ({ITEM_ID: len(log.item_keys) + 1} if item_ids else {}), width, layers
    )


def user_codes(log: ClickLog) -> Tensor:
    """int64 [users, attributes]."""
    return torch.from_numpy(log.user_attributes.codes.astype(np.int64))


def item_codes(log: ClickLog, item_ids: bool) -> Tensor:
    """int64 [items, attributes], with ``item_ids`` the item's own code last; no item has code 0 there."""
    codes = log.item_attributes.codes.astype(np.int64)
    if item_ids:
        codes = np.concatenate([codes, np.arange(1, len(codes) + 1)[:, None]], axis=1)
    return torch.from_numpy(codes)


_MAKE = "make one with `fellrec pretrain SET --open SHARE --as NAME`"
