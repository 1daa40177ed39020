"""One of five clients is hostile: what the honest ones lose, with the guard, without it, and under robust rules.

Every cell is a whole run of the demo's recipe over in-process nodes, hosted layers left out (the guard sees whole adapters either
way). The reference of a strategy is the run in which the fifth client never answers. Cells that have ended are kept under
``--home``, so that a broken run goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from flwr.app import ArrayRecord, Message
from flwr.supercore.task_identity import TaskIdentity  # a message outside of Flower's own processes needs one

from benchmarks.harness import Result, Size, main, progress, result
from common.config import flatten, from_flat
from common.errors import FellrecError
from common.low_rank import Adapter
from common.messages import Task
from common.run_folder import RunFolder
from fellrec.recipes import read_recipe
from tests.federation import InProcessGrid, federate, silent

HOSTILE = "sample-2"
STRATEGIES = {
    "fellrec": {"strategy.name": "fellrec"},
    "fedavg": {"strategy.name": "fedavg"},
    "fedavg, no guard": {"strategy.name": "fedavg", "guard.on": False},
}
TARGETS = {"fellrec": 0.95, "fedavg": 0.95}
"""Of the honest clients' R@10 without the hostile one, what is left to them at least."""

Change = Callable[[Adapter, Adapter], Adapter]


def moved(factor: float) -> Change:
    """The update times a factor."""
    return lambda start, sent: {name: start[name] + factor * (sent[name] - start[name]) for name in sent}


def noise(start: Adapter, sent: Adapter) -> Adapter:
    """Noise nine times as large as the update."""
    draw = torch.Generator().manual_seed(0)
    drawn = {name: torch.randn(tensor.shape, generator=draw) for name, tensor in sent.items()}
    norms = [
        sum(float(t.square().sum()) for t in own) ** 0.5
        for own in ([sent[name] - start[name] for name in sent], list(drawn.values()))
    ]
    return {name: start[name] + 9 * norms[0] / norms[1] * drawn[name] for name in sent}


POISONS: dict[str, Change | str] = {
    "update x100": moved(100.0),
    "sign flipped x10": moved(-10.0),
    "noise x9": noise,
    "another's update x10": "clone",
    "examples 1e15": "examples",
    "values 1e30": lambda start, sent: {name: torch.full_like(tensor, 1e30) for name, tensor in sent.items()},
    "no update": lambda start, sent: dict(start),
    "NaN": lambda start, sent: {name: torch.full_like(tensor, float("nan")) for name, tensor in sent.items()},
}


class HostileGrid(InProcessGrid):
    """In-process nodes of which one client changes each of its training replies."""

    def __init__(self, *arguments: Any, poison: Change | str | None) -> None:
        super().__init__(*arguments)
        self._poison = poison
        self._other: Adapter = {}

    def _answer(self, message: Message) -> Message | None:
        reply = super()._answer(message)
        if reply is None or message.metadata.message_type != "train":
            return reply
        sent = reply.content["arrays"].to_torch_state_dict()
        task = Task.from_record(message.content)
        start = task.shared | {name: tensor[0] for name, tensor in task.personal.items()}
        start = {name: start[name][None] for name in sent}
        if message.content["config"]["clients"] != [HOSTILE]:
            self._other = {name: sent[name] - start[name] for name in sent}
        elif self._poison is None:
            return silent(reply)
        elif self._poison == "examples":
            reply.content["metrics"]["sizes"] = [10**15]
        elif self._poison == "clone":
            reply.content["arrays"] = ArrayRecord({name: start[name] + 10 * self._other[name] for name in sent})
        else:
            reply.content["arrays"] = ArrayRecord(self._poison(start, sent))
        return reply


def honest(home: Path, name: str, settings: dict[str, Any], poison: Change | str | None) -> float | None:
    """The honest clients' R@10 in a cell, weighted by their users; None where the run ended without a result."""
    flat = {
        **read_recipe("demo"),
        "split.on": False,
        "federation.timeout": 5.0,
        **settings,
        "home": str(home),
        "run-name": name,
    }
    try:
        found = RunFolder.find(name, str(home)).result()
    except FellrecError:
        TaskIdentity.run_id = TaskIdentity.task_id = TaskIdentity.node_id = 1
        try:
            federate(dict(flatten(from_flat(flat))), 1, grid=lambda *given: HostileGrid(*given, poison=poison))
        except FellrecError as error:
            progress(f"  {name}: the run ended: {error}")
            return None
        found = RunFolder.find(name, str(home)).result()
    clients = {client: row for client, row in found["metrics"]["clients"].items() if client != HOSTILE}
    users = sum(row["test_users"] for row in clients.values())
    return sum(row["recall@10"] * row["test_users"] for row in clients.values()) / users


def measure(size: Size, kept: str | None = None) -> list[Result]:
    """R@10 of the honest clients over that without the hostile one, by strategy and poison; ``kept`` holds the cells so far."""
    with tempfile.TemporaryDirectory() as folder:
        found = _cells(Path(kept or folder), size)
    progress(table(found))
    return found


def _cells(home: Path, size: Size) -> list[Result]:
    small = {"num-server-rounds": 1, "train.examples": 8, "data.sets": "sample:3"}
    small |= {"evaluate.test-users": 8, "evaluate.valid-users": 8}
    settings = size.pick(small, {}, {})
    strategies = size.pick(["fedavg"], ["fedavg"], list(STRATEGIES))
    poisons = size.pick(["update x100"], ["update x100"], list(POISONS))
    results = []
    for strategy in strategies:
        chosen, key = STRATEGIES[strategy] | settings, strategy.replace(", ", "-").replace(" ", "-")
        # nobody is out of proportion among honest clients: with the guard and without it is one run
        alone = honest(home, f"{chosen['strategy.name']}-alone", chosen, None)
        for poison in poisons:
            name = f"{key}-{poison.replace(' ', '-').replace(chr(39), '')}"
            reached = honest(home, name, chosen, POISONS[poison])
            kept = (reached or 0.0) / alone
            more = {"recall": reached, "without": alone, "ended": reached is None}
            results.append(result(f"{strategy}: {poison}", kept, TARGETS.get(strategy), "higher", **more))
    return results


def table(results: list[Result]) -> str:
    """Markdown: a row for each poison, a column for each strategy."""
    cells = {tuple(entry["case"].split(": ")): entry for entry in results}
    strategies = list(dict.fromkeys(strategy for strategy, _ in cells))
    lines = ["| one of five sends | " + " | ".join(strategies) + " |", "| --- |" + " --- |" * len(strategies)]
    for poison in dict.fromkeys(poison for _, poison in cells):
        row = [cells[strategy, poison] for strategy in strategies]
        told = ["the run ends" if entry["ended"] else f"{entry['recall']:.3f} ({entry['ratio']:.2f})" for entry in row]
        lines.append(f"| {poison} | " + " | ".join(told) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--home", help="a folder that keeps the cells that have ended")
    parser.add_argument("--table", help="print the table of a result file, and measure nothing")
    known, rest = parser.parse_known_args()
    if known.table:
        print(table(json.loads(Path(known.table).read_text(encoding="utf-8"))["results"]))
    else:
        main("poison", __doc__, partial(measure, kept=known.home), rest)
