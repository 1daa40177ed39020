"""The history of a run: what happened round by round, how good it was, and whether there is a reason to stop."""

from __future__ import annotations

import time
from typing import Any

from common.errors import RunError
from common.events import EventLog, Resumed, StoppedEarly

VOID_ROUNDS = 2
"""Rounds in a row below the quorum after which the run stops."""


class RoundHistory:
    """The rounds so far.

    Parameters
    ----------
    metric : the name of the validation metric in a round's record; higher is better.
    patience : rounds without a better validation after which a run is over; 0 for never.
    began : when the run began, or went on, by ``time.monotonic``.

    Attributes
    ----------
    done : per round what happened, as ``rounds`` of ``result.json``; a round below the quorum is ``void``.
    """

    def __init__(self, metric: str, patience: int, log: EventLog, began: float) -> None:
        self._metric, self._patience, self._log, self._began = metric, patience, log, began
        self._before = 0.0
        self.done: list[dict[str, Any]] = []

    def __len__(self) -> int:
        return len(self.done)

    def seconds(self) -> float:
        """Seconds that the run has taken, those before it was resumed included."""
        return self._before + time.monotonic() - self._began

    def resume(self, done: list[dict[str, Any]], seconds: float) -> None:
        """Goes on after the last round that was not void: void ones at the end changed nothing, and are held anew.

        Parameters
        ----------
        seconds : what the run had taken at its last checkpoint.
        """
        whole = [number for number, record in enumerate(done, 1) if not record["void"]]
        self.done, self._before = list(done[: max(whole, default=0)]), seconds
        self._log.write(Resumed(len(self.done), len(done) - len(self.done)))

    def validated(self, value: float) -> None:
        """Completes the record of the last whole round by what its tensors achieve on validation data."""
        whole = [record for record in self.done if not record["void"]]
        if whole:
            whole[-1][self._metric] = value

    def settled(self) -> bool:
        """Whether validation has not got better for as many rounds as the patience allows."""
        patience = self._patience
        curve = [record[self._metric] for record in self.done if record[self._metric] is not None]
        if not patience or len(curve) <= patience or max(curve[-patience:]) > max(curve[:-patience]):
            return False
        self._log.write(StoppedEarly(len(self.done), patience))
        return True

    def stop_if_void(self) -> None:
        """Raises RunError where too few answered in :data:`VOID_ROUNDS` rounds in a row."""
        last = self.done[-VOID_ROUNDS:]
        if len(last) == VOID_ROUNDS and all(record["void"] for record in last):
            failed = last[-1]["clients_failed"]
            raise RunError(
                f"fewer clients than the quorum answered in rounds {last[0]['round']} to {last[-1]['round']}: "
                f"{len(failed)} failed, {dict(list(failed.items())[:3])!r} among them",
                "see the log for each client's reason; set resume = true to go on once they are mended",
            )
