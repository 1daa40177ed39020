"""A training step with the middle layers hosted in another process, against the whole model in one.

Forward, backward and optimiser step with LoRA on every layer; both sides train the same batch. The service holds the
autograd graph between forward and backward, or recomputes it.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn

from benchmarks.harness import Result, Size, interleaved, main, milliseconds, ratio_of, result
from benchmarks.hosting import RATE, SEED, Hosted, service
from benchmarks.models import TARGETS, VOCABULARY, save_model
from client_app.link import SplitLink
from client_app.trunk import RemoteTrunk
from common.adapters.lora import LoraSettings, add_lora
from common.cut import Cut, client_side
from common.models import load_encoder
from server_app.split.settings import Limits

CUT = Cut(1, 1)
RUNGS = {"graph held": Limits(), "recompute": Limits(graph_bytes=0)}
RECOMPUTE_TARGET = 1.40
MOST_ROWS = 256


@dataclass(frozen=True)
class Step:
    """A step of about so many milliseconds: its batch has rows of ``width`` tokens, as many as that takes."""

    name: str
    milliseconds: float
    width: int
    target: float
    repetitions: int


TURN = 4
"""Steps in a row, as in training; the last one of a turn is waited for."""

STEPS = {
    Size.TINY: (Step("1 ms", 1, 4, 1.10, 2),),
    Size.QUICK: (Step("250 ms", 250, 64, 1.10, 4), Step("25 ms", 25, 8, 1.25, 15)),
    Size.FULL: (Step("250 ms", 250, 64, 1.10, 20), Step("25 ms", 25, 8, 1.25, 100)),
}


def measure(size: Size) -> list[Result]:
    """All kinds of model, steps and rungs."""
    width, layers = size.pick((32, 3), (384, 6), (384, 6))
    found = []
    with tempfile.TemporaryDirectory() as root:
        for kind in size.pick(("bert",), ("bert",), ("bert", "llama")):
            folder = save_model(Path(root) / kind, kind, width, layers, heads=size.pick(2, 12, 12))
            found += _compare(folder, kind, width, STEPS[size])
    return found


def _compare(folder: Path, kind: str, width: int, steps: Sequence[Step]) -> list[Result]:
    lora = LoraSettings(dropout=0.0, targets=",".join(TARGETS[kind]))
    whole = add_lora(load_encoder(folder), lora, SEED)
    cases: dict[str, Callable[[Tensor, int], None]] = {"whole": _trainer(whole, None)}
    found = []
    with ExitStack() as stack:
        for rung, limits in RUNGS.items():
            door = stack.enter_context(service(Hosted(folder, width, kind, CUT, limits=limits), ["client"]))
            (link,) = stack.enter_context(door.links())
            cases[rung] = _trainer(add_lora(client_side(folder, CUT, RemoteTrunk(link)), lora, SEED), link)
        for step in steps:
            ids = _batch(cases["whole"], step)
            turns = {name: (lambda run=run: run(ids, TURN)) for name, run in cases.items()}  # noqa: B023
            seconds = interleaved(turns, step.repetitions, warm_up=2)
            for rung in RUNGS:
                ratio, quartiles = ratio_of(seconds[rung], seconds["whole"])
                found.append(
                    result(
                        f"{kind}, step of {step.name}, {rung}",
                        ratio,
                        step.target if rung == "graph held" else RECOMPUTE_TARGET,
                        "lower",
                        quartiles=quartiles,
                        milliseconds=milliseconds(seconds[rung]) / TURN,
                        whole_milliseconds=milliseconds(seconds["whole"]) / TURN,
                        rows=ids.shape[0],
                        width=ids.shape[1],
                    )
                )
    return found


def _trainer(model: nn.Module, link: SplitLink | None) -> Callable[[Tensor, int], None]:
    """So many optimiser steps on a batch of token ids; they have been made when it returns."""
    # in training mode the remote layers learn; no dropout, as in the hosted layers
    model.train()
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=RATE)

    def train(ids: Tensor, steps: int) -> None:
        for _ in range(steps):
            hidden = model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
            hidden.sin().pow(2).mean().backward()
            optimiser.step()
            optimiser.zero_grad()
            if link is not None:
                link.step(RATE)
        if link is not None:
            link.flush()

    return train


def _batch(whole: Callable[[Tensor, int], None], step: Step) -> Tensor:
    """Token ids [rows, width], with which a step of the whole model takes about as long as is wanted."""
    few = _ids(4, step.width)
    whole(few, 1)
    seconds = []
    for _ in range(3):
        begun = time.perf_counter()
        whole(few, 1)
        seconds.append(time.perf_counter() - begun)
    rows = round(len(few) * step.milliseconds / (median(seconds) * 1e3))
    return _ids(min(max(rows, 1), MOST_ROWS), step.width)


def _ids(rows: int, width: int) -> Tensor:
    return torch.randint(1, VOCABULARY, (rows, width), generator=torch.Generator().manual_seed(SEED))


if __name__ == "__main__":
    main("split_step", __doc__, measure)
