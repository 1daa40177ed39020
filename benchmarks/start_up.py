"""What a message costs a client before any work: Flower starts a process for it, which imports the app and loads its layers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median

from benchmarks.harness import Result, Size, main, result

CHECKOUT = Path(__file__).resolve().parents[1]
BEGIN = """
import json, sys, time
began = time.perf_counter()
import torch
import client_app.app
from common.config import ModelConfig
from common.cut import Cut
from common.recommenders.build import build
torch.set_num_threads(1)
imported = time.perf_counter()
build(ModelConfig(), 0, Cut(1, 1) if sys.argv[1] == "side" else None)
print(json.dumps([imported - began, time.perf_counter() - imported]))
"""


def measure(size: Size) -> list[Result]:
    """Seconds of a fresh process until it could train, with the demo's encoder: its own side, over the whole model."""
    repeats = size.pick(1, 3, 7)
    seen: dict[str, list[tuple[float, float]]] = {"side": [], "whole": []}
    for _ in range(repeats):
        for part, rows in seen.items():
            rows.append(_fresh(part))
    seconds = {part: [median(column) for column in zip(*rows, strict=True)] for part, rows in seen.items()}
    return [
        result(
            "a client's process before its first work, own side (k = m = 1) / whole model",
            sum(seconds["side"]) / sum(seconds["whole"]),
            None,
            "lower",
            "x",
            import_seconds=seconds["side"][0],
            load_seconds=seconds["side"][1],
            load_whole_seconds=seconds["whole"][1],
        )
    ]


def _fresh(part: str) -> tuple[float, float]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-c", BEGIN, part]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    imported, loaded = json.loads(done.stdout.splitlines()[-1])
    return imported, loaded


if __name__ == "__main__":
    main("start_up", __doc__, measure)
