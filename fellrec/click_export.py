"""A client's whole click model as a folder: its tensors, what the codes of attributes stand for, and a card with a program."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import save_file

from common.adapters.gated import GatedLinear, LowRank
from common.config import RunConfig
from common.data.attributes import UNKNOWN
from common.data.click_folder import load_clicks
from common.data.clicks import ClickLog
from common.data.prepare import ensure
from common.errors import ModelError
from common.home import data_home
from common.recommenders.click.model import ITEM_ID, ClickModel
from common.recommenders.click.run import click_run
from common.recommenders.click.warm_start import ClickBase
from common.run_folder import RunFolder
from fellrec.click_card import click_card
from fellrec.export_folder import Exported, check_empty, exporting
from fellrec.served import served_adapter

PROBES = 64
"""Made-up pairs of a user and an item, on which the exported model must compute what the run's does."""
CHECKED = "the card's program computes the run's logits, to the bit"


def export_click(
    run: RunFolder, config: RunConfig, result: Mapping[str, Any], client: str, out: Path, data: Path | None
) -> Exported:
    """Writes ``model.safetensors``, ``config.json`` and a card; see :func:`fellrec.export.export`.

    Raises
    ------
    RunError : no such client, or its private tensors are not on this machine.
    ConfigError : ``out`` holds something.
    DataError : the log is missing or damaged.
    ModelError : the warm start does not fit the log or the client's tensors, or what was written computes something else.
    """
    check_empty(out)
    click = click_run(config)
    model = click.of_client(served_adapter(run, client))
    log = load_clicks(ensure(config.data.sets.strip(), data_home(config.home)) if data is None else data.expanduser())
    click.base.check(log, ())
    told = {"schema": 1, "kind": "client's click model", **_values(log, click.base), "layers": _layers(model)}
    with exporting(out) as partial:
        (partial / "config.json").write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
        save_file(tensors, partial / "model.safetensors")
        moved = _check(partial, told, model, click.model)
        (partial / "README.md").write_text(click_card(client, config, result, told, moved), encoding="utf-8")
    return Exported(out, sum(tensor.numel() for tensor in tensors.values()), CHECKED, moved)


def _values(log: ClickLog, base: ClickBase) -> dict[str, dict[str, list[str]]]:
    """What each code of an attribute stands for, in the order of the model's tables."""
    user, item = (
        {name: list(values) for name, values in zip(own.names, own.values, strict=True)}
        for own in (log.user_attributes, log.item_attributes)
    )
    if base.item_ids:
        item[ITEM_ID] = [UNKNOWN, *log.item_keys]
    return {"user": user, "item": item}


def _layers(model: ClickModel) -> list[dict[str, Any]]:
    """Of each layer its common tensor and the paths beside it, in the order of the gate's weights, and their scale."""
    found = []
    for place, layer in enumerate(model.layers):
        name, common, paths, scale = f"layers.{place}", f"layers.{place}", [], 1.0
        if isinstance(layer, GatedLinear):
            own = {f"groups.{group}": path for group, path in layer.groups.items()}
            own = ({} if layer.user is None else {"user": layer.user}) | own
            common, paths, scale = f"{name}.common", list(own), cast(LowRank, next(iter(own.values()))).scale
        found.append({"name": name, "common": common, "paths": paths, "scale": scale})
    return found


@torch.no_grad()
def _check(folder: Path, told: Mapping[str, Any], model: ClickModel, start: ClickModel) -> float:
    """Loads the folder as anybody would; returns how far training has moved a probe's logit."""
    # what the card tells anybody to run
    read = importlib.import_module("fellrec.card_code.click").ClickModel(folder)
    codes = {
        what: torch.stack(
            [torch.linspace(0, len(v) - 1, PROBES).long().roll(p) for p, v in enumerate(own.values())], dim=1
        )
        for what, own in told.items()
        if what in ("user", "item")
    }
    items = [_texts(told["item"], row) for row in codes["item"].tolist()]
    moved = 0.0
    for row in codes["user"].unique(dim=0):
        users = row.expand(PROBES, -1)
        expected, found = model(users, codes["item"]), read.logits(_texts(told["user"], row.tolist()), items)
        if not torch.equal(found, expected):
            raise ModelError(
                f"the exported model differs from the run's by {(found - expected).abs().max().item()!r} on a probe",
                "nothing was written; please open an issue with the versions in result.json",
            )
        moved = max(moved, (expected - start(users, codes["item"])).abs().max().item())
    return moved


def _texts(attributes: Mapping[str, list[str]], codes: list[int]) -> dict[str, str]:
    return {name: values[code] for (name, values), code in zip(attributes.items(), codes, strict=True)}
