"""A client's adapter as a stock PEFT folder: what the server hosted and what the client held, in one file.

Beside it lies what else the scores are made of: projection, tokenizer, settings, and an item matrix that nothing could make
anew.
"""

from __future__ import annotations

import importlib
import json
import warnings
from pathlib import Path
from typing import Any, cast

import torch
from peft import PeftModel
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from client_app.items import lost, remembered
from client_app.memory import Memory
from client_app.node import memory_folder
from common.adapters.gated import GatedLinear
from common.config import RunConfig
from common.cut import digest
from common.data.sets import check_name
from common.errors import ConfigError, ModelError, RunError
from common.models import DTYPES, load_causal, load_encoder, load_tokenizer, resolve
from common.recommenders.build import causal
from common.recommenders.recommender import Recommender
from common.recommenders.state import HEAD, trained_state
from common.run_folder import RunFolder
from fellrec.adapter_card import adapter_card
from fellrec.click_export import export_click
from fellrec.export_folder import Exported, check_empty, exporting
from fellrec.export_settings import ITEMS, SETTINGS, encoded_by, export_settings
from fellrec.served import served_adapter
from fellrec.serving import whole_recommender

PROBES = ("A quiet evening.", "title: The Red Fox category: Animals", "1234567890 !?")
"""Texts, nobody's, on which the exported adapter must compute what the run's does."""
CHECKED = "PEFT loads it on the base model, and it computes what the run's adapter does"


def export(run: RunFolder, client: str, out: Path, data: Path | None = None) -> Exported:
    """Writes what a client serves with, its adapter or its whole click model; the folder is there whole or not at all.

    Before it is given its name the folder is loaded as anybody would, an adapter by PEFT on the base model, and computes
    probes.

    Parameters
    ----------
    data : the folder of a click model's client on its own machine, whose log names items and attributes; None takes the
        simulated clients' log. An adapter needs none.

    Raises
    ------
    RunError : the run has no result, no such client, what it trained is no adapter that PEFT reads by itself, or the client
        has lost its frozen item matrix or private tensors.
    ConfigError : ``out`` holds something, or there are ``data`` for an adapter.
    ModelError : what was written computes something else than the run's model does.
    """
    config, result = run.config(), run.result()
    check_name(client)
    if config.model.recommender == "click":
        return export_click(run, config, result, client, out, data)
    _refuse(run, config, data)
    check_empty(out)
    adapter, items = served_adapter(run, client), _items(run, client, config)
    recommender = whole_recommender(config, adapter)
    expected = _probed(recommender.backbone, recommender.tokenizer)
    with exporting(out) as partial:
        count, head = _save(recommender, config, partial)
        if items is not None:
            save_file({"items": items}, partial / ITEMS)
        told, ids = export_settings(recommender, config), _tokenised(recommender.tokenizer)
        del recommender
        moved = _check(partial, config, expected, ids)
        base, hub = digest(resolve(config.model.name)), base_name(config.model.name)
        told = {"base_model": hub, "base_digest": base} | told
        (partial / SETTINGS).write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        (partial / "README.md").write_text(adapter_card(client, config, result, base, hub, moved), encoding="utf-8")
    return Exported(out, count, CHECKED, moved, head, items is not None)


def base_name(name: str) -> str | None:
    """A model's name on the hub; None for one that lies on a machine, whose path is nobody else's business."""
    return None if name == "embedded" or name.startswith(("home:", "/", "~")) else name


def _refuse(run: RunFolder, config: RunConfig, data: Path | None) -> None:
    if data is not None:
        raise ConfigError(f"--data-path is {str(data)!r}, but an adapter is exported without data", "leave it out")
    if config.model.adapter == "full":
        raise RunError(
            f"run {run.name!r} has 'model.adapter' = {config.model.adapter!r}: there is no adapter to export",
            "its adapters/ hold all weights, in safetensors",
        )
    if config.model.positions != "model":
        raise RunError(
            f"run {run.name!r} has 'model.positions' = {config.model.positions!r}: the base model has no such embeddings",
            "train with 'model.positions' = 'model' to export, or read its adapters/ with fellrec",
        )


def _items(run: RunFolder, client: str, config: RunConfig) -> Tensor | None:
    """The matrix [n_items, H] that the client's numbers were measured with; None where the exported weights make it anew."""
    if encoded_by(config) != "file":
        return None
    kept = remembered(Memory(memory_folder(config, {}, run.name, client)), client)
    if kept is None:
        raise lost(client, config)
    return kept


def _save(recommender: Recommender, config: RunConfig, folder: Path) -> tuple[int, bool]:
    """Writes adapter, tokenizer and projection; returns the adapter's parameters, and whether there is a projection."""
    state = trained_state(recommender)
    head = {name.removeprefix(HEAD): tensor for name, tensor in state.items() if name.startswith(HEAD)}
    paths = {name: tensor for name, tensor in state.items() if not name.startswith(HEAD)}
    if config.model.adapter == "gated":
        save_file(paths, folder / "gated.safetensors")
        (folder / "gated.json").write_text(json.dumps(_gated(recommender.backbone)) + "\n", encoding="utf-8")
    else:
        _save_lora(cast(PeftModel, recommender.backbone), config, folder)
    recommender.tokenizer.save_pretrained(folder)
    if head:
        save_file(head, folder / "projection.safetensors")
    return sum(tensor.numel() for tensor in paths.values()), bool(head)


def _gated(backbone: torch.nn.Module) -> dict[str, Any]:
    """The layers with paths beside them, the paths in the order of the gate's weights, and their scale."""
    layers = {name: module for name, module in backbone.named_modules() if isinstance(module, GatedLinear)}
    first = next(iter(layers.values()))
    paths = [*(["user"] if first.user is not None else []), *(f"groups.{group}" for group in first.groups)]
    scales = {path.scale for path in (first.user, *first.groups.values()) if path is not None}
    return {"layers": list(layers), "paths": paths, "scale": scales.pop()}


def _save_lora(backbone: PeftModel, config: RunConfig, folder: Path) -> None:
    settings = backbone.peft_config["default"]
    settings.task_type = "CAUSAL_LM" if causal(config.model) else "FEATURE_EXTRACTION"
    settings.inference_mode = True
    # PEFT would look on the hub whether the vocabulary was changed
    backbone.save_pretrained(str(folder), save_embedding_layers=False)
    # PEFT put the path of this machine's copy there
    settings.base_model_name_or_path = base_name(config.model.name)
    settings.save_pretrained(str(folder))


def _check(folder: Path, config: RunConfig, expected: list[Tensor], ids: list[list[int]]) -> float:
    """Loads the folder as anybody would; returns how far it moves what the base model says."""
    base, tokenizer = _base(config), load_tokenizer(folder)
    if (read := _tokenised(tokenizer)) != ids:
        raise ModelError(
            f"the exported tokenizer reads the probes as {read!r}, the run's as {ids!r}",
            "nothing was written; please open an issue with the versions in result.json",
        )
    start = _probed(base, tokenizer)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        # what the card tells anybody to run
        loaded = importlib.import_module(f"fellrec.card_code.{config.model.adapter}").adapted(base, str(folder))
    found = _probed(loaded, tokenizer)
    for one, other in zip(found, expected, strict=True):
        if not torch.equal(one, other):
            raise ModelError(
                f"the exported adapter differs from the run's by {(one - other).abs().max().item()!r} on a probe",
                "nothing was written; please open an issue with the versions in result.json",
            )
    return max((one - other).abs().max().item() for one, other in zip(found, start, strict=True))


def _base(config: RunConfig) -> PreTrainedModel:
    folder, dtype = resolve(config.model.name), DTYPES[config.model.dtype]
    if causal(config.model):
        return load_causal(folder, dtype, config.model.quantise)
    return load_encoder(folder, dtype)


def _tokenised(tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    return [tokenizer(text)["input_ids"] for text in PROBES]


@torch.no_grad()
def _probed(model: torch.nn.Module, tokenizer: PreTrainedTokenizerBase) -> list[Tensor]:
    """What a model says of each probe, float32 [1, L, ...]: last hidden states, of a causal model logits."""
    found = []
    for text in PROBES:
        ids = torch.tensor([tokenizer(text)["input_ids"] or [0]], device=next(model.parameters()).device)
        output = model(input_ids=ids, attention_mask=torch.ones_like(ids))
        found.append((output.logits if "logits" in output else output.last_hidden_state).float().cpu())
    return found
