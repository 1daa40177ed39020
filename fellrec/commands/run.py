"""``fellrec run``: a federation, simulated or on real nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from fellrec.commands.arguments import Override, Recipe
from fellrec.commands.next_steps import after_deployment, after_simulation
from fellrec.deferred import Deferred
from fellrec.recipes import read_recipe, settings
from fellrec.terminal import Terminal

if TYPE_CHECKING:
    from fellrec import deployment, simulation
    from fellrec import superlink as superlinks
else:
    deployment = Deferred("fellrec.deployment")
    simulation = Deferred("fellrec.simulation")
    superlinks = Deferred("fellrec.superlink")

console = Terminal()


def run_command(
    recipe: Recipe,
    override: Override = None,
    nodes: Annotated[int, typer.Option(help="Simulated SuperNodes; clients are dealt to them.")] = 2,
    cpus: Annotated[int, typer.Option(help="CPU cores for each client at work.")] = 1,
    superlink: Annotated[
        str, typer.Option(help="Run on real nodes instead: host:port, or a name in Flower's configuration.")
    ] = "",
    root_certificates: Annotated[str, typer.Option(help="PEM that signed that SuperLink's certificate.")] = "",
    federation: Annotated[str, typer.Option(help="Flower's federation on that SuperLink; '' takes its own.")] = "",
    keep_going: Annotated[
        int, typer.Option(min=0, help="How many failures of a run on real nodes to take up again.")
    ] = 0,
) -> None:
    """Run a federation with Flower, from start to result: simulated here, or on the nodes of a SuperLink.

    Example: fellrec run demo --set strategy.name=fedavg
    """
    flat, config = settings(read_recipe(recipe), override or [])
    if superlink:
        with superlinks.reach(superlink, root_certificates, federation) as found:
            name = deployment.Drive(found, keep_going, console).run(flat, config)
        told = after_deployment(name, config.home)
    else:
        told = after_simulation(simulation.simulate(flat, config, nodes, cpus, console))
    console.print(f"\n{told}", markup=False)
