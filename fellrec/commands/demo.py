"""``fellrec demo``: everything once, on generated data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fellrec.commands.arguments import Override
from fellrec.commands.next_steps import after_simulation
from fellrec.commands.recommend import show
from fellrec.deferred import Deferred
from fellrec.recipes import read_recipe, settings
from fellrec.terminal import Terminal

if TYPE_CHECKING:
    from fellrec import recommending as recommenders
    from fellrec import simulation
else:
    recommenders = Deferred("fellrec.recommending")
    simulation = Deferred("fellrec.simulation")

console = Terminal()


def demo_command(override: Override = None) -> None:
    """Train on the generated sample set, then recommend for one user (two and a half minutes on two cores).

    Example: fellrec demo --set num-server-rounds=1
    """
    folder = simulation.simulate(*settings(read_recipe("demo"), override or []), 2, 1, console)
    console.print()
    with recommenders.recommending(folder) as ready:
        show(ready.for_user(), console)
    console.print(f"\nrun: {folder.path}", markup=False)
    console.print(after_simulation(folder), markup=False)
