"""What each cut costs: parameters and peak memory of a client's process, of the server's, and of the whole model's.

Every number is of a fresh process: above what it held with everything imported, after loading its side, and after one
training step (LoRA on a client's own layers, nothing in the hosted layers' place; on the server the way back to the
hidden states that came).
"""

from __future__ import annotations

import tempfile
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from transformers import BertModel

from benchmarks.child import child
from benchmarks.harness import Result, Size, main, result
from benchmarks.models import TARGETS, VOCABULARY, save_model
from common.adapters.lora import LoraSettings, add_lora
from common.cut import Cut, client_side, cost, server_side
from common.memory_use import peak_memory

KIND = "bert"
ROWS, TOKENS = 4, 32
CUTS = {
    Size.TINY: (Cut(1, 1),),
    Size.QUICK: (Cut(0, 0), Cut(0, 1), Cut(1, 1), Cut(2, 1), Cut(2, 2)),
    Size.FULL: tuple(Cut(k, m) for k in range(3) for m in range(3)),
}
Part = Literal["client", "server", "whole"]


def measure(size: Size) -> list[Result]:
    """For each cut: both base parts against the whole model, and each side's memory against the whole model's."""
    width, layers = size.pick((32, 3), (512, 6), (512, 12))
    found = []
    with tempfile.TemporaryDirectory() as root:
        folder = save_model(Path(root), KIND, width, layers, heads=size.pick(2, 8, 8))
        whole = _facts(folder, None, "whole", width)
        for cut in CUTS[size]:
            sides = {"client": _facts(folder, cut, "client", width), "server": _facts(folder, cut, "server", width)}
            expected = cost(folder, cut)
            for side, facts in sides.items():
                if facts["parameters"] != expected[side]["parameters"]:
                    raise RuntimeError(f"the {side} of {cut!r} loaded {facts['parameters']!r} parameters")
            found.append(
                result(
                    f"k={cut.k}, m={cut.m}: parameters, both sides / whole",
                    sum(facts["parameters"] for facts in sides.values()) / whole["parameters"], 1.0, "lower", "x",
                    client=sides["client"], server=sides["server"], whole=whole,
                )
            )  # fmt: skip
            found += [
                result(
                    f"k={cut.k}, m={cut.m}: peak memory of a training step, {side} / whole",
                    facts["step_bytes"] / max(whole["step_bytes"], 1), None, "lower", "x",
                )
                for side, facts in sides.items()
            ]  # fmt: skip
    return found


def _facts(folder: Path, cut: Cut | None, part: Part, width: int) -> dict[str, int]:
    """``parameters`` of the base, and bytes above the imports: ``load_bytes`` and ``step_bytes``."""
    with child(_measure, folder, cut, part, width, preloaded=True) as (_, facts):
        return facts


def _measure(connection: Connection, folder: Path, cut: Cut | None, part: Part, width: int) -> None:
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
        return BertModel.from_pretrained(folder)
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


if __name__ == "__main__":
    main("cut_cost", __doc__, measure)
