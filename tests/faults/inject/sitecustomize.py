"""Kills, at a named point of a run, the process that reaches it: Python loads this first where PYTHONPATH leads here.

FELLREC_FAULT_PLANS names a folder of JSON files with ``target``, ``phase``, ``round``, ``client`` and ``pid``; whoever carries
a plan out takes the file away, so a fault happens once. FELLREC_FAULT_CLOCK sets this process's clock so many seconds off.
"""

from __future__ import annotations

import glob
import importlib.abc
import importlib.machinery
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

PLANS = os.environ.get("FELLREC_FAULT_PLANS", "")
CLOCK = float(os.environ.get("FELLREC_FAULT_CLOCK", "0"))
task: dict[str, Any] = {}
hosts: list[Any] = []


def strikes(phase: str, round_number: int, targets: tuple[str, ...], client: str = "") -> dict[str, Any] | None:
    """The plan that is about this moment; it is then taken away."""
    for path in glob.glob(f"{PLANS}/*.json"):
        try:
            with open(path, encoding="utf-8") as file:
                plan = json.load(file)
            wanted = (plan["phase"], plan["round"]) == (phase, round_number) and plan["target"] in targets
            if wanted and client in ("", plan["client"]):
                os.rename(path, f"{path}.done")
                return plan
        except (OSError, ValueError):
            # another process was faster
            continue
    return None


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def end_service(on_its_thread: bool = False) -> None:
    """The split service alone: its connections are cut and its compute thread ends, in the middle of what it does."""
    host = hosts[-1]
    host._server.stop(None)
    if on_its_thread:
        raise SystemExit
    host._engine._inbox.put(sys.exit)


def carry_out(phase: str, round_number: int) -> None:
    """For moments that the server process sees."""
    plan = strikes(phase, round_number, ("server", "split", "node"))
    if plan is None:
        return
    if plan["target"] == "server":
        die()
    elif plan["target"] == "split":
        end_service()
    else:
        os.kill(plan["pid"], signal.SIGKILL)


def wrap(owner: Any, name: str, make: Callable[[Callable], Callable]) -> None:
    setattr(owner, name, make(getattr(owner, name)))


def in_client_app(module: ModuleType) -> None:
    def reads(inner: Callable) -> Callable:
        def call(message: Any) -> Any:
            read = inner(message)
            client = read.clients[0]
            task.update(client=client, round=read.round, steps=0, trains=message.metadata.message_type == "train")
            if strikes("send", read.round, ("client",), client):
                die()
            return read

        return call

    def releases(inner: Callable) -> Callable:
        def call(report: Any) -> Any:
            if task.get("trains") and strikes("upload", task["round"], ("client",), task["client"]):
                die()
            return inner(report)

        return call

    wrap(module, "_task", reads)
    wrap(module, "record_of", releases)


def in_hosted(module: ModuleType) -> None:
    def steps(inner: Callable) -> Callable:
        def call(self: Any, rate: float) -> None:
            inner(self, rate)
            task["steps"] += 1
            if task["steps"] == 2 and strikes("train", task["round"], ("client",), task["client"]):
                die()

        return call

    wrap(module.Hosted, "step", steps)


class HalfSent:
    """A Grid that dies, or whose split service does, when messages have just been sent."""

    def __init__(self, grid: Any, round_number: int) -> None:
        self._grid, self._round = grid, round_number

    def __getattr__(self, name: str) -> Any:
        return getattr(self._grid, name)

    def push_messages(self, messages: Any) -> Any:
        messages = list(messages)
        plan = strikes("send", self._round, ("server", "split"))
        if plan is not None and plan["target"] == "server":
            list(self._grid.push_messages(messages[:1]))
            die()
        sent = list(self._grid.push_messages(messages))
        if plan is not None:
            end_service()
        return sent


def in_transport(module: ModuleType) -> None:
    def sends(inner: Callable) -> Callable:
        def call(self: Any, messages: Any, *rest: Any) -> Any:
            messages, grid = list(messages), self._grid
            if messages and messages[0].metadata.message_type == "train":
                self._grid = HalfSent(grid, int(messages[0].content["config"]["server-round"]))
            try:
                return inner(self, messages, *rest)
            finally:
                self._grid = grid

        return call

    wrap(module.FlowerTransport, "ask", sends)


def in_strategy(module: ModuleType) -> None:
    def arrives(inner: Callable) -> Callable:
        def call(self: Any, number: int, reply: Any) -> Any:
            carry_out("upload", number)
            return inner(self, number, reply)

        return call

    wrap(module.FederatedRecommenders, "_arrived", arrives)


def in_hosting(module: ModuleType) -> None:
    def commits(inner: Callable) -> Callable:
        def call(self: Any, client: str, round_number: int, *rest: Any) -> Any:
            done = inner(self, client, round_number, *rest)
            carry_out("aggregate", round_number)
            return done

        return call

    wrap(module.Hosting, "commit", commits)


def in_host(module: ModuleType) -> None:
    def makes(inner: Callable) -> Callable:
        def call(self: Any, *rest: Any) -> None:
            inner(self, *rest)
            hosts.append(self)

        return call

    wrap(module.SplitHost, "__init__", makes)


def in_engine(module: ModuleType) -> None:
    def steps(inner: Callable) -> Callable:
        def call(self: Any, works: Any) -> None:
            opened = self._clients.round(works[0].client)
            plan = strikes("train", opened.round, ("server", "split")) if opened.step == 1 else None
            if plan is not None and plan["target"] == "server":
                die()
            elif plan is not None:
                end_service(on_its_thread=True)
            inner(self, works)

        return call

    wrap(module.Engine, "_step", steps)


def in_run_folder(module: ModuleType) -> None:
    def saves(inner: Callable) -> Callable:
        def call(tensors: Any, path: Any) -> None:
            inner(tensors, path)
            name = os.path.basename(os.path.dirname(path))
            if name.startswith(".round-"):
                carry_out("checkpoint", int(name.split(".")[1].removeprefix("round-")))

        return call

    wrap(module, "save_file", saves)


def in_date(module: ModuleType) -> None:
    import datetime

    wrap(module, "now", lambda inner: lambda: inner() + datetime.timedelta(seconds=CLOCK))


POINTS: dict[str, Callable[[ModuleType], None]] = {}
if PLANS:
    POINTS |= {
        "client_app.app": in_client_app,
        "client_app.hosted": in_hosted,
        "server_app.transport": in_transport,
        "server_app.strategy": in_strategy,
        "server_app.hosting": in_hosting,
        "server_app.split.host": in_host,
        "server_app.split.engine": in_engine,
        "common.run_folder": in_run_folder,
    }
if CLOCK:
    POINTS["flwr.supercore.date"] = in_date
    wrap(time, "time", lambda inner: lambda: inner() + CLOCK)


class Finder(importlib.abc.MetaPathFinder):
    """Finds modules as Python does, and changes those of POINTS once they are loaded."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name not in POINTS:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_and_change(module: ModuleType) -> None:
                load(module)
                POINTS[name](module)

            spec.loader.exec_module = load_and_change
        return spec


if POINTS:
    sys.meta_path.insert(0, Finder())
