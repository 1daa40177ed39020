"""What all benchmarks share: sizes, interleaved timing, facts about the machine, and one JSON object at the end.

Only ratios within one run are to be compared: what is compared runs in turns, so that whatever else the machine does
falls on all of it alike, and medians are taken.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from statistics import median, quantiles
from typing import Any, Literal

import torch

RESULTS = Path(__file__).resolve().parent / "results"
Result = dict[str, Any]


class Size(StrEnum):
    """How much a benchmark does: seconds, with numbers that say nothing; a minute; as long as it takes."""

    TINY = "tiny"
    QUICK = "quick"
    FULL = "full"

    def pick(self, tiny: Any, quick: Any, full: Any) -> Any:
        """The value for this size."""
        return {Size.TINY: tiny, Size.QUICK: quick, Size.FULL: full}[self]


def main(name: str, about: str, measure: Callable[[Size], list[Result]], argv: Sequence[str] | None = None) -> None:
    """Runs one benchmark: progress to stderr, one JSON object to stdout, in the full form also to ``results/``.

    Parameters
    ----------
    measure : makes the results, each by :func:`result`.
    argv : the command line; None takes the process's own.
    """
    parser = argparse.ArgumentParser(f"python -m benchmarks.{name}", description=about)
    parser.add_argument("--full", action="store_true", help=f"measure longer, and write results/{name}.json")
    parser.add_argument("--tiny", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args(argv)
    size = Size.TINY if chosen.tiny else Size.FULL if chosen.full else Size.QUICK
    torch.set_num_threads(1)
    begun = time.monotonic()
    report = {"name": name, "commit": commit(), "machine": machine(), "size": str(size), "results": measure(size)}
    progress(f"{name}: {time.monotonic() - begun:.0f} s")
    text = json.dumps(report, indent=1, allow_nan=False)
    if size is Size.FULL:
        RESULTS.mkdir(exist_ok=True)
        partial = RESULTS / f"{name}.json.part"
        partial.write_text(text + "\n", encoding="utf-8")
        os.replace(partial, RESULTS / f"{name}.json")
    print(text)


def result(
    case: str, ratio: float, target: float | None, better: Literal["lower", "higher"], unit: str = "x", **more: Any
) -> Result:
    """One measured number beside its target (None: there is none, the number is for information)."""
    progress(f"  {case}: {ratio:.3g} {unit} (target: {target}, {better} is better)")
    return {"case": case, "ratio": ratio, "target": target, "better": better, "unit": unit, **more}


def progress(line: str) -> None:
    """Says what goes on, on stderr."""
    print(line, file=sys.stderr, flush=True)


def interleaved(
    cases: Mapping[str, Callable[[], object]], repetitions: int, warm_up: int = 1
) -> dict[str, list[float]]:
    """Seconds of each repetition of each case; the cases take turns."""
    for _ in range(warm_up):
        for run in cases.values():
            run()
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(repetitions):
        for name, run in cases.items():
            begun = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - begun)
    return seconds


def ratio_of(over: Sequence[float], under: Sequence[float]) -> tuple[float, list[float]]:
    """The ratio of two cases' medians, and the quartiles of the ratios turn by turn: how far it can be trusted."""
    turns = [one / other for one, other in zip(over, under, strict=True)]
    low, _, high = quantiles(turns, n=4, method="inclusive") if len(turns) > 1 else turns * 3
    return median(over) / median(under), [low, high]


def milliseconds(seconds: Sequence[float]) -> float:
    """The median, in ms."""
    return median(seconds) * 1e3


def machine() -> dict[str, Any]:
    """The processor's name, the cores that this process may use, and the GPU's name or None."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cpu": _processor(), "cores": cores, "gpu": gpu}


def commit() -> str | None:
    """The checkout's commit, with ``-dirty`` where files differ from it; None outside of one."""
    asked = ["git", "-C", str(RESULTS.parent), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        answer = subprocess.run(asked, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
