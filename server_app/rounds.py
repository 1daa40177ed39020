"""The run: who is here, round after round until the end or until nothing gets better, and a checkpoint after each."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict

from flwr.app import ArrayRecord, ConfigRecord, Message
from flwr.serverapp import Grid

from common.config import RunConfig
from common.errors import RunError
from common.events import EventLog
from common.messages import Ranking
from common.metrics import balance, weighted
from common.run_folder import RunFolder
from server_app.checkpoint import from_checkpoint, to_checkpoint
from server_app.clients import ClientRegister
from server_app.course import Course
from server_app.exchange import Stragglers, exchange
from server_app.result import untested
from server_app.roll_call import RollCall
from server_app.strategy import FederatedRecommenders
from server_app.watch import Watch


class Rounds:
    """Runs a strategy from the first round, or from the last checkpoint on, to the final measurement.

    Attributes
    ----------
    course : what happened so far.
    """

    def __init__(
        self,
        config: RunConfig,
        grid: Grid,
        strategy: FederatedRecommenders,
        folder: RunFolder,
        log: EventLog,
        began: float,
    ) -> None:
        self._config, self._grid, self._strategy, self._folder, self._log = config, grid, strategy, folder, log
        register = ClientRegister(strategy.clients, strategy.newcomer, log)
        self._roll_call = RollCall(grid, register, config.federation, log)
        self._watch = Watch()
        self.course = Course("recall@10", config.federation.patience, log, began)

    def run(self) -> None:
        """All rounds, then the final measurement.

        Raises
        ------
        RunError : nobody takes part or can be tested, or too few answered in two rounds in a row.
        """
        self._resume()
        self._roll_call.first()
        if self._strategy.plan.pooled and not self._strategy.clients.simulated:
            raise RunError(
                "'strategy.name' = 'centralised' pools data, and these nodes are real", "simulate it instead"
            )
        self._refuse_untestable()
        self._strategy.summary()
        course = self.course
        while len(course) < self._config.num_server_rounds and not course.settled():
            if len(course):
                self._roll_call.again()
            self._round(len(course) + 1)
            self._folder.save_checkpoint(len(course), *to_checkpoint(self._strategy, course))
            course.stop_if_void()
        self._measure()

    def _refuse_untestable(self) -> None:
        """A run without a test user would train to its end for nothing."""
        facts = [member.facts for _, member in self._strategy.clients]
        if not any(fact.test_users for fact in facts):
            reasons = untested(facts)
            raise RunError(
                f"no client has a user that can be tested: {reasons['met_before']} users had their test items before,"
                f" {reasons['untried']} have no history or no test item",
                "prepare longer histories, or choose another 'data.split'",
            )

    def _resume(self) -> None:
        kept = self._folder.last_checkpoint() if self._config.resume else None
        if kept is not None:
            from_checkpoint(self._strategy, self.course, *kept)

    def _round(self, number: int) -> None:
        strategy, config = self._strategy, self._config
        invited = list(strategy.trainees())
        self._log.write(
            "round_started",
            round=number,
            of=config.num_server_rounds,
            clients=invited,
            quorum=strategy.quorum(len(invited)),
        )
        clock = time.monotonic()
        messages = strategy.configure_train(number, ArrayRecord(), ConfigRecord(), self._grid)
        elapsed: dict[str, float] = {}

        def arrived(reply: Message) -> None:
            client = self._arrived(number, reply)
            if client is not None:
                elapsed[client] = time.monotonic() - clock

        stragglers = None
        if config.federation.stragglers and not strategy.clients.simulated:
            stragglers = Stragglers(strategy.quorum(len(invited)), config.federation.stragglers)
        replies = exchange(self._grid, messages, strategy.timeout, arrived, stragglers)
        answered = time.monotonic()
        _, metrics = strategy.aggregate_train(number, replies)
        reports = strategy.trained.reports
        self._look(number, elapsed)
        evaluating = max((report.seconds.get("evaluate", 0.0) for report in reports.values()), default=0.0)
        record = {
            "round": number,
            "seconds": {
                "train": round(answered - clock - evaluating, 3), "aggregate": round(time.monotonic() - answered, 3),
                "evaluate": round(evaluating, 3),
            },
            "loss": None if metrics is None else metrics["loss"],
            "recall@10": None,
            "clients_ok": len(reports),
            "clients_failed": strategy.trained.failed,
            "void": metrics is None,
        }  # fmt: skip
        # Clients measured before they trained: that is the quality of the round before this one.
        self._note_validation({client: report.validation for client, report in reports.items()})
        self.course.done.append(record)
        self._log.write(
            "round_ended", **record, weights=strategy.weights,
            clients={
                client: {
                    "loss": report.loss, "examples": report.examples, "share": report.share,
                    "validation": dict(report.validation.values),
                    "heat": strategy.trainees()[client].heat, "seconds": dict(report.seconds),
                    "proportion": strategy.proportions.get(client),
                    "bytes": {
                        "up": strategy.trained.received[client] + int(report.split_bytes.get("up", 0)),
                        "down": strategy.trainees()[client].bytes_down[-1],
                    },
                }
                for client, report in reports.items()
            },
        )  # fmt: skip

    def _arrived(self, number: int, reply: Message) -> str | None:
        client = self._strategy.inbox.client_of(reply)
        self._log.write("reply", round=number, client=client, ok=not reply.has_error())
        return client

    def _look(self, number: int, elapsed: Mapping[str, float]) -> None:
        """Learns how long clients take, and tells the operator what to look at."""
        reports, members = self._strategy.trained.reports, self._strategy.trainees()
        for client in reports.keys() & elapsed.keys():
            self._strategy.patience.note(client, elapsed[client])
        hosts = Counter(member.node for member in members.values())
        alone = {client: hosts[member.node] == 1 for client, member in members.items()}
        for warning in self._watch.look(reports, elapsed, alone):
            self._log.write("warning", round=number, **asdict(warning))

    def _note_validation(self, measured: Mapping[str, Ranking]) -> None:
        """Completes the record of the last whole round by what its adapters achieve on validation users."""
        counted = {client: ranking for client, ranking in measured.items() if ranking.users}
        if not counted:
            return
        mean = weighted(
            {client: r.values for client, r in counted.items()}, {client: r.users for client, r in counted.items()}
        )
        recall = {client: ranking.values["recall@10"] for client, ranking in counted.items()}
        self.course.validated(mean["recall@10"])
        self._log.write("validated", round=len(self.course), **mean, balance=balance(recall), clients=recall)

    def _measure(self) -> None:
        strategy, last = self._strategy, len(self.course)
        self._log.write("measuring", clients=list(strategy.clients.present()))
        messages = strategy.configure_evaluate(last, ArrayRecord(), ConfigRecord(), self._grid)
        replies = exchange(
            self._grid, messages, self._config.federation.timeout, lambda reply: self._arrived(last, reply)
        )
        if strategy.aggregate_evaluate(last, replies) is None:
            raise RunError(f"no client measured a test user: {strategy.measured.failed}", "see each client's log")
        for client, report in strategy.measured.reports.items():
            self._folder.save_adapter(client, strategy.served(client, report.share))
        self._note_validation({c: report.rankings["validation"] for c, report in strategy.measured.reports.items()})
