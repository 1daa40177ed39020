"""A run on real machines: submitted, followed to its end, and taken up again after its last whole round when it fails.

Flower does not start a ServerApp that died again; whoever submitted the run has to, and this does.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping
from datetime import UTC, datetime

from rich.console import Console

from common.config import RunConfig, Value
from common.errors import RunError
from fellrec.superlink import OutOfReach, RunState, SuperLink

PAUSE = 2.0
"""Seconds between two questions to a SuperLink."""

OUT_OF_REACH = 600.0
"""Seconds that a SuperLink may be out of reach before the run is given up here; it may well go on there."""

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_ROUND = re.compile(r"round (\d+)/\d+: ")


class Drive:
    """Sees one run through.

    Parameters
    ----------
    keep_going : how many failures are overcome. One that would only repeat itself ends it earlier: where the run itself
        said what is wrong, and had come no further than the time before.
    """

    def __init__(self, superlink: SuperLink, keep_going: int, console: Console) -> None:
        self._superlink, self._keep_going, self._console = superlink, keep_going, console
        self._begun, self._round = False, 0

    def run(self, settings: Mapping[str, Value], config: RunConfig) -> str:
        """Runs to the end; returns the run's name.

        Raises
        ------
        RunError : the run was stopped, failed too often or in a way that repeats itself, or the SuperLink is gone.
        """
        name = config.run_name or _name(config)
        self._begun, failures = config.resume, 0
        while True:
            before = self._round
            flower_run = self._start({**settings, "run-name": name, "resume": self._begun}, failures > 0)
            try:
                state = self._follow(flower_run, name)
            except (KeyboardInterrupt, SystemExit):
                self._tell(f"run {name} goes on without this command; `flwr stop {flower_run}` ends it")
                raise
            if state.completed:
                return name
            if state.stopped:
                raise RunError(f"run {name!r} was stopped", self._remedy(name))
            failures += 1
            # it may have made its folder without living long enough for anybody to read so in its log
            unseen = not self._begun and "exists already" in state.details
            self._begun = self._begun or unseen
            self._tell(f"run {name} failed in round {self._round}: {state.details or 'no reason is known'}")
            if failures > self._keep_going:
                raise RunError(f"run {name!r} failed {failures} times, last: {state.details}", self._remedy(name))
            if not (state.died or unseen) and self._round <= before and failures > 1:
                raise RunError(f"run {name!r} fails again in the same way: {state.details}", self._remedy(name))
            self._tell(f"taking it up again, {self._keep_going - failures} more times if need be")

    def _start(self, settings: Mapping[str, Value], again: bool) -> str:
        deadline = time.monotonic() + (OUT_OF_REACH if again else 0.0)
        while True:
            try:
                return self._superlink.start(settings)
            except OutOfReach:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(PAUSE)

    def _follow(self, flower_run: str, name: str) -> RunState:
        """Shows the run's log until it has ended; a SuperLink that is away is waited for."""
        shown, deadline = 0, time.monotonic() + OUT_OF_REACH
        while True:
            shown = self._show(flower_run, name, shown)
            try:
                state = self._superlink.state(flower_run)
            except OutOfReach as away:
                if time.monotonic() >= deadline:
                    raise RunError(
                        f"the SuperLink has been out of reach for {OUT_OF_REACH:g} s: {away.message}",
                        f"`flwr log {flower_run}` follows the run once it is back",
                    ) from away
            else:
                if state.ended:
                    return state
                deadline = time.monotonic() + OUT_OF_REACH
            time.sleep(PAUSE)

    def _show(self, flower_run: str, name: str, shown: int) -> int:
        """Prints the log beyond its first ``shown`` lines until the stream ends; returns how many there were."""
        count = 0
        with self._superlink.lines(flower_run) as process:
            for line in process.stdout or ():
                count += 1
                if count <= shown:
                    continue
                text = _COLOUR.sub("", line.rstrip())
                if f"fellrec run {name}:" in text:
                    self._begun = True
                if found := _ROUND.search(text):
                    self._round = max(self._round, int(found[1]))
                self._tell(text)
        return max(count, shown)

    def _remedy(self, name: str) -> str:
        return f"to go on with it: --set run-name={name} --set resume=true" if self._begun else ""

    def _tell(self, text: str) -> None:
        self._console.print(text, markup=False)


def _name(config: RunConfig) -> str:
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    return "-".join(part for part in (stamp, config.recipe, config.strategy.name, secrets.token_hex(2)) if part)
