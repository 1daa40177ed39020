"""A simulated run from the command line: checked first, then started in a Flower of its own and followed by its event log."""

from __future__ import annotations

import secrets
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from client_app.crowd_holding import simulated_clients
from client_app.node import all_clients
from common.config import RunConfig, Value
from common.errors import RunError
from common.events import Event, read_events
from common.home import runs_home
from common.recommenders import build
from common.run_folder import RunFolder
from common.table import result_table
from fellrec import supervisor
from fellrec.flower import Flower, own_superlink
from fellrec.flower_app import app_folder


def simulate(
    settings: Mapping[str, Value],
    config: RunConfig,
    nodes: int,
    cpus: int,
    console: Console,
    flower: Flower | None = None,
) -> RunFolder:
    """Runs a federation in simulation and shows its progress; returns the run's folder.

    ``flower`` is one that is up already; without it one is started, and ended.

    Raises
    ------
    RunError : the run ended without a result.
    ConfigError, ModelError : the model does not fit the settings; then nothing was started.
    """
    click = config.model.recommender == "click"
    if not click:
        build.check(config)
    everyone = simulated_clients(config, config.home)[1] if click else all_clients(config, config.home)
    console.print(f"{len(everyone)} clients; strategy {config.strategy.name}, model {config.model.name}", markup=False)
    name = config.run_name or "-".join(
        part
        for part in (
            datetime.now(UTC).strftime("%Y%m%d-%H%M%S"),
            config.recipe,
            config.strategy.name,
            secrets.token_hex(2),
        )
        if part
    )
    path = runs_home(config.home) / name
    began = time.time()
    with nullcontext(flower) if flower else own_superlink() as running, app_folder() as app:
        console.print("starting Flower's simulation engine")
        process = running.run(app, {**settings, "run-name": name}, nodes, cpus)
        try:
            tail = _kept_tail(process)
            ended = _follow(path / "events.jsonl", process, config, began, console)
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


def _follow(path: Path, process: subprocess.Popen[str], config: RunConfig, began: float, console: Console) -> bool:
    """Shows a run's progress until Flower's command ends, whose exit status says nothing; returns whether the run ended well."""
    ended = False
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("starting", total=None, note="")
        rounds_began, first, answered, invited, recall = 0.0, 1, 0, 1, ""
        for event in _tail_events(path, process, began):
            kind = event["event"]
            if kind == "round_started":
                if not rounds_began:
                    rounds_began, first = event["time"], event["round"]
                answered, invited = 0, event.get("answers", len(event["clients"]))
                bar.update(task, description=f"round {event['round']}/{event['of']}", total=event["of"])
            elif kind == "reply":
                answered += 1
                done = event["round"] - (1 - answered / invited)
                bar.update(
                    task, completed=min(done, config.num_server_rounds), note=f"{event['client']} answered {recall}"
                )
            elif kind == "validated":
                recall = f"AUC {event['auc']:.4f}" if "auc" in event else f"R@10 {event['recall@10']:.4f}"
            elif kind == "round_ended":
                spent = (event["time"] - rounds_began) / (event["round"] - first + 1)
                left = spent * (config.num_server_rounds - event["round"])
                told = "loss not told" if event["loss"] is None else f"loss {event['loss']:.4f}"
                loss = "void" if event["void"] else told
                bar.update(task, completed=event["round"], note=f"{loss}, about {left:.0f} s left")
                bar.console.print(
                    f"round {event['round']}: {loss}, {event['clients_ok']} clients, before it {recall or 'no validation'}",
                    markup=False,
                )
            elif kind in ("rejected", "refused", "run_failed"):
                bar.console.print(
                    f"{kind}: {event.get('client') or event.get('node') or ''} {event['reason']}", markup=False
                )
            elif kind == "measuring":
                bar.update(task, description="measuring", note="test users")
            elif kind == "run_ended":
                ended = True
    return ended


def _tail_events(path: Path, process: subprocess.Popen[str], began: float) -> Iterator[Event]:
    """The run's events as they are written, until Flower's command ends; a resumed run's earlier events are passed over."""
    told = 0
    while True:
        ended = process.poll() is not None
        events = list(read_events(path)) if path.is_file() else []
        for event in events[told:]:
            if event["time"] >= began - 1:
                yield event
        told = len(events)
        if ended:
            return
        time.sleep(0.3)
