"""A simulated run from the command line: checked first, then started in a Flower of its own and followed by its event log."""

from __future__ import annotations

import secrets
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from client_app.click_holding import simulated_clients
from client_app.node import all_clients
from common.config import RunConfig, Value
from common.errors import RunError
from common.events import (
    Event,
    Measuring,
    Refused,
    Rejected,
    Replied,
    RoundEnded,
    RoundStarted,
    RunEnded,
    RunFailed,
    Validated,
    read_events,
)
from common.home import runs_home
from common.recommenders import build
from common.run_folder import RunFolder
from common.table import result_table
from fellrec import supervisor
from fellrec.flower import Flower, own_superlink
from fellrec.flower_app import app_folder
from server_app.progress import NAMES, who


def simulate(
    settings: Mapping[str, Value],
    config: RunConfig,
    nodes: int,
    cpus: int,
    console: Console,
    flower: Flower | None = None,
    listen: Callable[[Event], None] | None = None,
) -> RunFolder:
    """Runs a federation in simulation and shows its progress; returns the run's folder.

    ``flower`` is one that is up already; without it one is started, and ended. ``listen`` is called with every event, in place
    of the bar on the console; its exception ends the run.

    Raises
    ------
    RunError : the run ended without a result.
    ConfigError, ModelError : the model does not fit the settings; then nothing was started.
    """
    everyone = check(config)
    console.print(f"{len(everyone)} clients; strategy {config.strategy.name}, model {config.model.name}", markup=False)
    name = new_name(config)
    path = runs_home(config.home) / name
    began = time.time()
    with nullcontext(flower) if flower else own_superlink() as running, app_folder() as app:
        console.print("starting Flower's simulation engine")
        process = running.run(app, {**settings, "run-name": name}, nodes, cpus)
        try:
            tail = _kept_tail(process)
            with nullcontext(listen) if listen else _bar(config, console) as tell:
                ended = _follow(path / "events.jsonl", process, began, tell)
        except (KeyboardInterrupt, SystemExit):
            # whoever brought the Flower has its own way to go on
            if flower is None and path.is_dir():
                console.print(f"\nrun {name} ends here; {_remedy(name)}", markup=False)
            raise
        finally:
            supervisor.end(process)
    try:
        folder = RunFolder.find(name, config.home)
        if not ended:
            # a result that is there is an earlier run's
            raise RunError(f"run {name!r} did not come to its end")
        result = folder.result()
    except RunError as error:
        said = "\n".join(tail)
        raise RunError(f"the run ended without a result ({error.message})", f"Flower said last:\n{said}") from None
    console.print()
    for line in result_table(result):
        console.print(line, markup=False)
    return folder


def check(config: RunConfig) -> tuple[str, ...]:
    """The simulated clients of a run whose settings fit its model.

    Raises
    ------
    ConfigError, ModelError : they do not. DataError : a data set is not prepared.
    """
    if config.model.recommender == "click":
        return tuple(simulated_clients(config, config.home)[1])
    build.check(config)
    return tuple(all_clients(config, config.home))


def new_name(config: RunConfig) -> str:
    """The run's name: the one that was chosen, else one by the time, what runs, and chance."""
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    parts = (stamp, config.recipe, config.strategy.name, secrets.token_hex(2))
    return config.run_name or "-".join(part for part in parts if part)


def _remedy(name: str) -> str:
    return f"to go on after its last whole round: the same command with --set run-name={name} --set resume=true"


def _kept_tail(process: subprocess.Popen[str]) -> deque[str]:
    """Drains Flower's output and keeps its last lines, for the case that the run fails."""
    tail: deque[str] = deque(maxlen=40)

    def drain() -> None:
        for line in process.stdout or ():
            tail.append(line.rstrip())

    threading.Thread(target=drain, daemon=True).start()
    return tail


def _follow(path: Path, process: subprocess.Popen[str], began: float, tell: Callable[[Event], None]) -> bool:
    """Tells a run's events until Flower's command ends, whose exit status says nothing; returns whether the run ended well."""
    ended = False
    for event in _tail_events(path, process, began):
        tell(event)
        ended = ended or isinstance(event, RunEnded)
    return ended


@contextmanager
def _bar(config: RunConfig, console: Console) -> Iterator[Callable[[Event], None]]:
    """What shows a run's events as a bar, and a line a round."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("starting", total=None, note="")
        rounds_began, first, answered, invited, quality = 0.0, 1, 0, 1, ""

        def tell(event: Event) -> None:
            nonlocal rounds_began, first, answered, invited, quality
            match event:
                case RoundStarted(round=number, of=of, messages=messages, time=at):
                    if not rounds_began:
                        rounds_began, first = at, number
                    answered, invited = 0, messages
                    bar.update(task, description=f"round {number}/{of}", total=of)
                case Replied(round=number, clients=clients):
                    answered += 1
                    done = number - (1 - answered / invited)
                    note = f"{who(clients)} answered {quality}"
                    bar.update(task, completed=min(done, config.num_server_rounds), note=note)
                case Validated(metric=metric, means=means):
                    quality = f"{NAMES.get(metric, metric)} {means[metric]:.4f}"
                case RoundEnded() as done_round:
                    number = done_round.round
                    spent = (done_round.time - rounds_began) / (number - first + 1)
                    left = spent * (config.num_server_rounds - number)
                    told = "loss not reported" if done_round.loss is None else f"loss {done_round.loss:.4f}"
                    loss = "void" if done_round.void else told
                    bar.update(task, completed=number, note=f"{loss}, about {left:.0f} s left")
                    bar.console.print(
                        f"round {number}: {loss}, {done_round.clients_ok} clients, before it {quality or 'no validation'}",
                        markup=False,
                    )
                case Rejected(clients=clients, reason=reason):
                    bar.console.print(f"rejected: {who(clients)} {reason}", markup=False)
                case Refused(node=node, reason=reason):
                    bar.console.print(f"refused: {node} {reason}", markup=False)
                case RunFailed(reason=reason):
                    bar.console.print(f"run failed: {reason}", markup=False)
                case Measuring():
                    bar.update(task, description="measuring", note="test data")

        yield tell


def _tail_events(path: Path, process: subprocess.Popen[str], began: float) -> Iterator[Event]:
    """The run's events as they are written, until Flower's command ends; a resumed run's earlier events are passed over."""
    told = 0
    while True:
        ended = process.poll() is not None
        events = list(read_events(path)) if path.is_file() else []
        for event in events[told:]:
            if event.time >= began - 1:
                yield event
        told = len(events)
        if ended:
            return
        time.sleep(0.3)
