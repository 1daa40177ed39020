"""What one side of a model takes in the process that calls this: parameters and memory."""

from __future__ import annotations

from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from transformers import BertModel

from benchmarks.models import TARGETS, VOCABULARY
from common.adapters.lora import LoraSettings, add_lora
from common.cut import Cut, client_side, server_side
from common.memory_use import peak_memory

KIND = "bert"
ROWS, TOKENS = 4, 32
Part = Literal["client", "server", "whole"]


def footprint(connection: Connection, folder: Path, cut: Cut | None, part: Part, width: int) -> None:
    """Sends ``parameters`` of the base, and the peaks in bytes above the imports: ``load_bytes`` and ``step_bytes``."""
    imported = _peak()
    model = _load(folder, cut, part)
    # remove_duplicate is the default: a tied weight counts once
    parameters = sum(parameter.numel() for parameter in model.parameters())
    loaded = _peak()
    _step(model, cut, part, width)
    connection.send({"parameters": parameters, "load_bytes": loaded - imported, "step_bytes": _peak() - imported})


def _load(folder: Path, cut: Cut | None, part: Part) -> nn.Module:
    if cut is None:
        # not by AutoModel, which imports the class only when it is needed: that would count as the model's memory
        return BertModel.from_pretrained(folder, add_pooling_layer=False)
    return server_side(folder, cut) if part == "server" else client_side(folder, cut, _nothing)


def _step(model: nn.Module, cut: Cut | None, part: Part, width: int) -> None:
    if part == "server":
        hidden = torch.zeros(ROWS, TOKENS, width, requires_grad=True)
        model(hidden).sum().backward()
        return
    ids = torch.randint(1, VOCABULARY, (ROWS, TOKENS), generator=torch.Generator().manual_seed(0))
    if cut is not None and cut.k + cut.m == 0:
        # no layer of its own, so nothing to train below or above
        with torch.no_grad():
            model(input_ids=ids)
        return
    trained = add_lora(model, LoraSettings(dropout=0.0, targets=",".join(TARGETS[KIND])), seed=0)
    optimiser = torch.optim.AdamW(parameter for parameter in trained.parameters() if parameter.requires_grad)
    trained(input_ids=ids).last_hidden_state.sum().backward()
    optimiser.step()


def _nothing(hidden: Tensor, attention_mask: Tensor | None, position_ids: Tensor | None) -> Tensor:
    return hidden


def _peak() -> int:
    """The most that this program has held. Where there is /proc, from there: ``ru_maxrss`` begins with the size of the
    process that started this one."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return peak_memory()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
