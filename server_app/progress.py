"""What the person at the terminal sees while a run goes on: one line per event that matters, through Flower's log."""

from __future__ import annotations

import logging
import time

from common.events import Event
from common.printable import printable

log = logging.getLogger("flwr")


class Progress:
    """A listener of the event log."""

    def __init__(self) -> None:
        self._rounds_began: float | None = None
        self._first_round = 1

    def __call__(self, event: Event) -> None:
        tell = getattr(self, f"_{event['event']}", None)
        if tell is not None:
            # one event, one line: what others have written may neither steer the terminal nor look like another line
            tell({k: printable(v).replace("\n", " ") if isinstance(v, str) else v for k, v in event.items()})

    def _run_started(self, event: Event) -> None:
        log.info("fellrec run %s: %s", event["run"], event["folder"])

    def _joined(self, event: Event) -> None:
        log.info("client %s joined: %d users, %d items, %d training interactions",
                 event["client"], event["users"], event["items"], event["train_interactions"])  # fmt: skip

    def _crowd_joined(self, event: Event) -> None:
        log.info("a node of %d clients joined: %d rows of %s, %d of them to train on",
                 event["clients"], event["interactions"], event["dataset"], event["train_interactions"])  # fmt: skip

    def _crowd_away(self, event: Event) -> None:
        log.warning("a node of %d clients is away", event["clients"])

    def _back(self, event: Event) -> None:
        log.info("client %s is back", event["client"])

    def _away(self, event: Event) -> None:
        log.warning("client %s is away", event["client"])

    def _refused(self, event: Event) -> None:
        log.warning("node %s is left out: %s", event["node"], event["reason"])

    def _rejected(self, event: Event) -> None:
        log.warning("client %s is left out of round %d: %s", event["client"], event["round"], event["reason"])

    def _warning(self, event: Event) -> None:
        log.warning("client %s, %s: %s (%s)", event["client"], event["kind"], event["reason"], event["hint"])

    def _resumed(self, event: Event) -> None:
        log.info("resumed after round %d", event["round"])

    def _round_started(self, event: Event) -> None:
        if self._rounds_began is None:
            self._rounds_began, self._first_round = time.monotonic(), event["round"]
        log.info(
            "round %d/%d: %d clients train, %d must answer",
            event["round"],
            event["of"],
            len(event["clients"]),
            event["quorum"],
        )
        self._of = event["of"]

    def _reply(self, event: Event) -> None:
        log.info("  %s %s", event["client"], "answered" if event["ok"] else "failed")

    def _validated(self, event: Event) -> None:
        what = f"after round {event['round']}" if event["round"] else "before training"
        spread = event["balance"]
        name, metric = ("AUC", "auc") if "auc" in event else ("R@10", "recall@10")
        log.info(
            "  validation %s %s: %.4f (worst client %.4f, Jain %.3f)",
            name,
            what,
            event[metric],
            spread["worst"],
            spread["jain"],
        )

    def _round_ended(self, event: Event) -> None:
        done = event["round"] - self._first_round + 1
        spent = time.monotonic() - (self._rounds_began or time.monotonic())
        left = spent / done * (self._of - event["round"])
        if event["void"]:
            log.warning(
                "round %d/%d is void: %d of the invited answered", event["round"], self._of, event["clients_ok"]
            )
            return
        loss = "not told" if event["loss"] is None else f"{event['loss']:.4f}"
        log.info("round %d/%d: loss %s, %d clients, %.0f s, about %.0f s left",
                 event["round"], self._of, loss, event["clients_ok"], sum(event["seconds"].values()), left)  # fmt: skip

    def _stopped_early(self, event: Event) -> None:
        log.info(
            "validation has not got better for %d rounds: stopping after round %d", event["patience"], event["round"]
        )

    def _measuring(self, event: Event) -> None:
        log.info("measuring the result on the test users of %d clients", len(event["clients"]))

    def _run_failed(self, event: Event) -> None:
        log.error("run failed: %s", event["reason"])

    def _run_ended(self, event: Event) -> None:
        for line in event["table"]:
            log.info("%s", line)
        log.info("result: %s", event["result"])
