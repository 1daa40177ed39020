"""What the person at the terminal sees while a run goes on: one line per event that matters, through Flower's log."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

from common.events import (
    Away,
    Event,
    Joined,
    Measuring,
    Refused,
    Rejected,
    Replied,
    Resumed,
    RoundEnded,
    RoundStarted,
    RunEnded,
    RunFailed,
    RunStarted,
    StoppedEarly,
    Validated,
    Warned,
)
from common.printable import printable

log = logging.getLogger("flwr")

NAMES = {"recall@10": "R@10", "auc": "AUC"}


class Progress:
    """A listener of the event log."""

    def __init__(self) -> None:
        self._rounds_began: float | None = None
        self._first_round, self._of = 1, 0

    def __call__(self, event: Event) -> None:
        match _safe(event):
            case RunStarted(run=run, folder=folder):
                log.info("fellrec run %s: %s", run, folder)
            case Joined() as joined:
                self._joined(joined)
            case Away(clients=clients):
                log.warning("%s away", are(clients))
            case Refused(node=node, reason=reason):
                log.warning("node %s is left out: %s", node, reason)
            case Rejected(clients=clients, round=number, reason=reason):
                log.warning("%s left out of round %d: %s", are(clients), number, reason)
            case Warned(client=client, kind=kind, reason=reason, hint=hint):
                log.warning("client %s, %s: %s (%s)", client, kind, reason, hint)
            case Resumed(round=number):
                log.info("resumed after round %d", number)
            case RoundStarted() as started:
                self._round_started(started)
            case Replied(clients=clients, ok=ok):
                log.info("  %s %s", who(clients), "answered" if ok else "failed")
            case Validated() as validated:
                self._validated(validated)
            case RoundEnded() as ended:
                self._round_ended(ended)
            case StoppedEarly(round=number, patience=patience):
                log.info("validation has not got better for %d rounds: stopping after round %d", patience, number)
            case Measuring(clients=clients):
                log.info("measuring the result on the test data of %d clients", len(clients))
            case RunFailed(reason=reason):
                log.error("run failed: %s", reason)
            case RunEnded(table=table, result=result):
                for line in table:
                    log.info("%s", line)
                log.info("result: %s", result)

    def _joined(self, event: Joined) -> None:
        fresh = {client: told for client, told in event.clients.items() if client not in event.back}
        if event.back:
            log.info("%s back", are(event.back))
        if len(fresh) == 1:
            ((client, told),) = fresh.items()
            log.info(
                "client %s joined: %d users, %d items, %d training interactions",
                client,
                told["users"],
                told["items"],
                told["train_interactions"],
            )
        elif fresh:
            rows = sum(told["train_interactions"] for told in fresh.values())
            log.info("a node of %d clients joined, with %d training interactions", len(fresh), rows)

    def _round_started(self, event: RoundStarted) -> None:
        if self._rounds_began is None:
            self._rounds_began, self._first_round = time.monotonic(), event.round
        self._of = event.of
        log.info(
            "round %d/%d: %d clients train, %d must answer", event.round, event.of, len(event.clients), event.quorum
        )

    def _validated(self, event: Validated) -> None:
        what = f"after round {event.round}" if event.round else "before training"
        log.info(
            "  validation %s %s: %.4f (worst client %.4f, Jain %.3f)",
            NAMES.get(event.metric, event.metric),
            what,
            event.means[event.metric],
            event.balance["worst"],
            event.balance["jain"],
        )

    def _round_ended(self, event: RoundEnded) -> None:
        done = event.round - self._first_round + 1
        spent = time.monotonic() - (self._rounds_began or time.monotonic())
        left = spent / done * (self._of - event.round)
        if event.void:
            log.warning("round %d/%d is void: %d of the invited answered", event.round, self._of, event.clients_ok)
            return
        loss = "not reported" if event.loss is None else f"{event.loss:.4f}"
        log.info(
            "round %d/%d: loss %s, %d clients, %.0f s, about %.0f s left",
            event.round,
            self._of,
            loss,
            event.clients_ok,
            sum(event.seconds.values()),
            left,
        )


def who(clients: Sequence[str]) -> str:
    """These clients in a few words."""
    return clients[0] if len(clients) == 1 else f"a node of {len(clients)} clients"


def are(clients: Sequence[str]) -> str:
    return f"client {clients[0]} is" if len(clients) == 1 else f"{len(clients)} clients are"


def _safe(event: Event) -> Event:
    """The event with every text on one line: what others have written may neither steer the terminal nor look like two."""
    changed: dict[str, Any] = {
        one.name: printable(value).replace("\n", " ")
        for one in fields(event)
        if one.name != "time" and isinstance(value := getattr(event, one.name), str)
    }
    return replace(event, **changed) if changed else event
