"""What each cut costs: parameters and peak memory of a client's process, of the server's, and of the whole model's.

Every number is of a fresh process: above what it held with everything imported, after loading its side, and after one
training step (LoRA on a client's own layers, nothing in the hosted layers' place; on the server the way back to the
hidden states that came).
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.child import child
from benchmarks.footprint import KIND, Part, footprint
from benchmarks.harness import Result, Size, main, result
from benchmarks.models import save_model
from common.cut import Cut, cost

CUTS = {
    Size.TINY: (Cut(1, 1),),
    Size.QUICK: (Cut(0, 0), Cut(0, 1), Cut(1, 1), Cut(2, 1), Cut(2, 2)),
    Size.FULL: tuple(Cut(k, m) for k in range(3) for m in range(3)),
}


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
                    sum(facts["parameters"] for facts in sides.values()) / whole["parameters"],
                    1.0,
                    "lower",
                    "x",
                    client=sides["client"],
                    server=sides["server"],
                    whole=whole,
                )
            )
            found += [
                result(
                    f"k={cut.k}, m={cut.m}: peak memory of a training step, {side} / whole",
                    facts["step_bytes"] / max(whole["step_bytes"], 1),
                    None,
                    "lower",
                    "x",
                )
                for side, facts in sides.items()
            ]
    return found


def _facts(folder: Path, cut: Cut | None, part: Part, width: int) -> dict[str, int]:
    with child(footprint, folder, cut, part, width, preload=footprint.__module__) as (_, facts):
        return facts


if __name__ == "__main__":
    main("cut_cost", __doc__, measure)
