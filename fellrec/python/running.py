"""A federation from a script or a notebook: in this process, or in a Flower of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from common.config import RunConfig, Value
from common.events import Event, as_line
from common.home import runs_home
from common.run_folder import RunFolder
from fellrec.deferred import Deferred
from fellrec.progress_lines import ProgressLines
from fellrec.python.run import Run
from fellrec.python.settings import Recipe, Settings, merged
from fellrec.terminal import Terminal

if TYPE_CHECKING:
    from fellrec import in_process as in_process_runs
    from fellrec import simulation
    from fellrec.flower import Flower
else:
    in_process_runs = Deferred("fellrec.in_process")
    simulation = Deferred("fellrec.simulation")


Listener = Callable[[dict[str, Any]], None]
"""Called with every event of a run, a dict, as it happens; an exception of its own ends the run."""


def run(
    recipe: Recipe,
    settings: Settings | None = None,
    *,
    in_process: bool = False,
    listen: Listener | None = None,
    quiet: bool = False,
    nodes: int = 2,
    cpus: int = 1,
) -> Run:
    """Runs a federation of simulated clients, from start to result.

    Parameters
    ----------
    recipe : str, path or mapping
        A recipe's name, its path, or its content.
    settings : mapping, optional
        Changes of some, by their names in ``docs/configuration.md``: ``{"num-server-rounds": 3, "train": {"examples": 64}}``.
    in_process : bool
        In this process, clients in turn; by default in a Flower of its own, as ``fellrec run`` does, which takes longer to
        start. Both give the same numbers, with hosted layers to the last bit where Flower's ServerApp, too, computes with
        ``cpus`` threads (``OMP_NUM_THREADS``).
    listen : callable, optional
        Called with every event. Without it, progress is printed as lines, unless ``quiet``.
    quiet : bool
        Whether nothing is printed.
    nodes : int
        Simulated SuperNodes, to which the clients are dealt.
    cpus : int
        CPU cores for each client at work; in this process torch's threads during the run.

    Raises
    ------
    ConfigError, DataError, ModelError : settings, data and model do not fit together; then nothing was started.
    RunError : the run failed, or one of its name exists.
    """
    flat, config = merged(recipe, settings)
    config = config.model_copy(update={"run_name": simulation.new_name(config)})
    flat = {**flat, "run-name": config.run_name}
    try:
        folder = start(flat, config, in_process, listener(listen, quiet), nodes, cpus)
    except KeyboardInterrupt:
        if not quiet and (runs_home(config.home) / config.run_name / "config.json").is_file():
            again = {"run-name": config.run_name, "resume": True}
            print(f"interrupted; to go on after the last whole round, add to the settings: {again}", flush=True)
        raise
    return Run(folder)


def listener(listen: Listener | None, quiet: bool) -> Callable[[Event], None]:
    """Who hears of a run's events: the caller's own listener, as they stand in the log, or what prints lines."""
    if listen is not None:
        return lambda event: listen(as_line(event))
    return ProgressLines((lambda line: None) if quiet else None)


def start(
    flat: dict[str, Value],
    config: RunConfig,
    in_process: bool,
    listen: Callable[[Event], None],
    nodes: int,
    cpus: int,
    flower: Flower | None = None,
) -> RunFolder:
    """Runs one federation to its end; ``flower`` is one that is up already, for a run through it."""
    if in_process:
        folder: RunFolder = in_process_runs.run_in_process(flat, config, nodes, cpus, listen)
    else:
        folder = simulation.simulate(flat, config, nodes, cpus, Terminal(quiet=True), flower, listen)
    return folder
