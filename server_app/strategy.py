"""One round, told in Flower's own methods: configure, let train, take in, mix.

Every client gets a message of its own, with its own adapter, learning rate and (where the plan says so) what it sent
last. Every reply is accepted or rejected by the client's name; what is accepted is mixed for all at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy
from torch import Tensor

from common.config import RunConfig
from common.errors import SplitError
from common.events import EventLog
from common.low_rank import Adapter
from common.messages import POOL, EvaluateReport, Task, TrainReport
from common.own_share import SHARES, interpolate
from common.record_fields import message_bytes
from common.scopes import Scope
from common.version import app_identity
from server_app.aggregation.guard import capped_sizes, out_of_proportion, proportions, update_norms
from server_app.aggregation.heating import heat, pace
from server_app.aggregation.history import RoundAverage
from server_app.aggregation.merge import merge
from server_app.aggregation.rule import Updates, mix
from server_app.clients import Clients, Member
from server_app.hosting import Hosting
from server_app.inbox import Inbox, Outcome
from server_app.patience import Patience
from server_app.report_limits import ReportLimits
from server_app.strategies import plan


class FederatedRecommenders(Strategy):
    """Flower's strategy for every plan of ``server_app.strategies``.

    Parameters
    ----------
    run : the run's name, by which clients key what they remember.
    origin : the untrained adapter P_0 that everybody starts from.
    clients : the members; the run loop keeps their nodes up to date.
    hosting : the middle layers, where the server hosts them. Members' adapters are whole: a client gets and sends its own
        part, the hosted part joins on the server, so everything between knows nothing of the split.

    Attributes
    ----------
    trained, measured : what became of the last train and evaluate messages.
    weights : the last mixing matrix, by receiver and sender; empty where the rule is none.
    proportions : by client, the norm of its last update over the median of the others'; empty where nobody is guarded.
    timeout : seconds that the last messages made have for their replies.
    """

    def __init__(
        self,
        config: RunConfig,
        run: str,
        origin: Adapter,
        clients: Clients,
        log: EventLog,
        hosting: Hosting | None = None,
    ) -> None:
        self.config, self.run, self.origin, self.clients, self.hosting = config, run, origin, clients, hosting
        self.plan = plan(config)
        self.inbox = Inbox(self._clients_part(origin), log)
        self.trained: Outcome[TrainReport] = Outcome()
        self.measured: Outcome[EvaluateReport] = Outcome()
        self.weights: dict[str, dict[str, float]] = {}
        self.proportions: dict[str, float] = {}
        self.timeout = config.federation.timeout
        self.mixed_average = RoundAverage(config.strategy.average_rounds, self.plan.rule.merge)
        self.own_average = RoundAverage(config.strategy.average_rounds, self.plan.rule.merge)
        self.patience = Patience(config.federation.timeout)
        self._log = log
        self._pool: Member | None = None

    def summary(self) -> None:
        """Writes to the event log what this strategy is."""
        self._log.write(
            "strategy", name=self.config.strategy.name, scope=self.plan.scope.value, rule=repr(self.plan.rule),
            heating=self.plan.heating, pacing=self.plan.pacing, own_share=self.plan.own_share, pooled=self.plan.pooled,
            guard={"factor": self.config.guard.factor} if self.plan.guarded and self.config.guard.on else None,
        )  # fmt: skip

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """One train message for each present client; nothing in it is common to all, so ``arrays`` and ``config`` are empty."""
        tasks = {}
        for client, member in self.trainees().items():
            rate = self.config.train.learning_rate * self.pace_of(member)
            tasks[client] = self._task(client, server_round, member.mixed, member.own, rate)
        return self._messages(tasks, self.trainees(), MessageType.TRAIN)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Takes in the replies and, where the quorum is met, mixes for all receivers at once.

        The personal adapters stay with ``clients``: what is returned is Flower's form of a round, without common arrays.
        Two Nones tell that too few clients answered; every adapter is then as it was.
        """
        trainees = self.trainees()
        self.trained, self.weights = self.inbox.take_in(replies, server_round, TrainReport), {}
        self._join_hosted(server_round)
        self._leave_out(server_round)
        reports = self.trained.reports
        if len(reports) < self.quorum(len(trainees)):
            return None, None
        sizes, heats = self._sizes(), self._heats(reports, server_round - 1)
        for (client, report), size in zip(reports.items(), sizes.tolist(), strict=True):
            if size < report.examples and self.plan.guarded:
                self._log.write(
                    "warning", round=server_round, client=client, kind="size",
                    reason=f"its {report.examples} examples would outweigh all others: they count as {size:.0f}",
                    hint="raise 'guard.largest-share' where it honestly has so many",
                )  # fmt: skip
        updates = Updates(
            clients=tuple(reports),
            adapters=[report.adapter for report in reports.values()],
            start=[self._start_of(trainees[client], report) for client, report in reports.items()],
            origin=self.origin,
            losses=torch.tensor([report.loss for report in reports.values()], dtype=torch.float64),
            sizes=sizes,
            heats=heats if self.plan.heating else torch.ones(len(reports)),
        )
        mixture = mix(self.plan.rule, updates)
        if mixture.weights is not None:
            self.weights = {
                receiver: dict(zip(updates.clients, row, strict=True))
                for receiver, row in zip(updates.clients, mixture.weights.tolist(), strict=True)
            }
        for (client, report), adapter, warmth in zip(reports.items(), mixture.adapters, heats, strict=True):
            member = trainees[client]
            member.mixed, member.own, member.heat = adapter, report.adapter, float(warmth)
            member.share = report.share
            member.bytes_up.append(self.trained.received[client] + int(report.split_bytes.get("up", 0)))
            member.bytes_down[-1] += int(report.split_bytes.get("down", 0))
        self._hand_on(mixture.adapters[0], reports)
        examples = sum(report.examples for report in reports.values())
        loss = sum(report.loss * report.examples for report in reports.values()) / examples
        return ArrayRecord(), MetricRecord({"loss": loss, "num-examples": examples})

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """One evaluate message for each present client, with its result: the average over the last rounds."""
        tasks = {}
        for client in self.clients.present():
            tasks[client] = self._task(client, server_round, *self.result_of(client))
        return self._messages(tasks, self.clients.present(), MessageType.EVALUATE)

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """Takes in the final measurements; returns their means over test users, None where there are none."""
        self.measured = self.inbox.take_in(replies, server_round, EvaluateReport)
        tests = [report.rankings["test"] for report in self.measured.reports.values()]
        users = sum(test.users for test in tests)
        if not users:
            return None
        return MetricRecord(
            {name: sum(test.users * test.values[name] for test in tests) / users for name in tests[0].values}
        )

    def trainees(self) -> dict[str, Member]:
        """Who trains: every present client; in centralised training the pool alone, on the first client's node."""
        present = self.clients.present()
        if not self.plan.pooled or not present:
            return present
        first = next(iter(present.values()))
        if self._pool is None:
            self._pool = replace(first, bytes_down=[], bytes_up=[])
        self._pool.node = first.node
        return {POOL: self._pool}

    def everybody(self) -> Iterable[tuple[str, Member]]:
        """All that a checkpoint keeps: the members, and the pool where there is one."""
        return [*self.clients, *([(POOL, self._pool)] if self._pool else [])]

    def restore(self, client: str, member: Member) -> None:
        """Puts a member back as a checkpoint kept it; it is away until its node reports."""
        if client == POOL:
            self._pool = member
        else:
            self.clients.restore(member)

    def newcomer(self) -> Adapter:
        """What a client that joins starts from: the mean of everybody's, which under a shared scope is the one for all."""
        mixes = [member.mixed for _, member in self.clients]
        if all(member.own is None for _, member in self.clients):
            return self.origin
        alike = torch.full((len(mixes), len(mixes)), 1 / len(mixes), dtype=torch.float64)
        return merge(self.plan.rule.merge, mixes, alike).adapters[0]

    def quorum(self, invited: int) -> int:
        """How many of the invited clients must answer: at least one."""
        return max(1, math.ceil(self.config.federation.quorum * invited))

    def pace_of(self, member: Member) -> float:
        """A client's learning rate as a multiple of the run's; before its first report it is as warm as round 0."""
        warmth = member.heat if member.heat is not None else math.tanh(self.config.fellrec.alpha)
        return float(pace(torch.tensor(warmth), "linear" if self.plan.pacing else "none"))

    def result_of(self, client: str) -> tuple[Adapter, Adapter | None]:
        """What a client is given at the end: the mean of its last mixed adapters, and of its last own ones if there are any."""
        if client not in self.mixed_average:
            return self.clients[client].mixed, None
        own = self.own_average.mean(client) if client in self.own_average else None
        return self.mixed_average.mean(client), own

    def served(self, client: str, share: float) -> Adapter:
        """The adapter that a client serves with, given the own share that it chose."""
        mixed, own = self.result_of(client)
        return mixed if own is None else self._step(mixed, own, share)

    def _task(
        self, client: str, server_round: int, mixed: Adapter, own: Adapter | None, rate: float | None = None
    ) -> Task:
        """What a client gets: its part of the adapters, and doors to the hosted part; without a rate, only to look."""
        own = own if self.plan.own_share else None
        doors = None
        if self.hosting is not None:
            steps = {0.0: mixed} if own is None else {share: self._step(mixed, own, share) for share in (0.0, *SHARES)}
            seconds = self.config.federation.timeout
            if rate is None:
                doors = self.hosting.show(client, steps, seconds)
            else:
                doors = self.hosting.open(client, server_round, rate, steps, seconds)
        return Task(
            app=app_identity(),
            run=self.run,
            client=client,
            round=server_round,
            adapter=self._clients_part(mixed),
            own=None if own is None else self._clients_part(own),
            learning_rate=rate or 0.0,
            doors=doors,
        )

    def _join_hosted(self, server_round: int) -> None:
        """Commits the hosted part of every accepted report and joins it to the client's; rolls back everybody else's."""
        if self.hosting is None:
            return
        for client in self.trained.failed:
            self.hosting.forget(client)
        for client, report in list(self.trained.reports.items()):
            try:
                hosted = self.hosting.commit(client, server_round, report.share, report.hosted_steps)
            except SplitError as error:
                self.hosting.forget(client)
                self.inbox.reject(self.trained, client, server_round, error)
                continue
            self.trained.reports[client] = replace(report, adapter=report.adapter | hosted)

    def _clients_part(self, adapter: Adapter) -> Adapter:
        return adapter if self.hosting is None else self.hosting.rest(adapter)

    def _messages(self, tasks: Mapping[str, Task], members: Mapping[str, Member], kind: str) -> list[Message]:
        records = {client: task.to_record() for client, task in tasks.items()}
        payload = {client: message_bytes(record) for client, record in records.items()}
        self.timeout = self.config.federation.timeout
        if kind == MessageType.TRAIN:
            self.timeout = self.patience.seconds(records, payload)
        sent = []
        for client, record in records.items():
            member = members[client]
            if kind == MessageType.TRAIN:
                member.bytes_down.append(payload[client])
            # a message lives no longer than its round
            made = Message(record, member.node, kind, ttl=self.timeout, group_id=str(tasks[client].round))
            sent.append((client, made))
        self.inbox.expect(sent, {client: self._limits(task) for client, task in tasks.items()})
        return [message for _, message in sent]

    def _limits(self, task: Task) -> ReportLimits:
        members = [member for _, member in self.clients] if task.client == POOL else [self.clients[task.client]]
        return ReportLimits.of((member.facts for member in members), self.config.train, task.own is not None)

    def _leave_out(self, server_round: int) -> None:
        """Leaves out, by name, every client whose update is out of all proportion to the others'; hosted parts included."""
        reports, trainees, settings = self.trained.reports, self.trainees(), self.config.guard
        self.proportions = {}
        if not (settings.on and self.plan.guarded and reports):
            return
        starts = [self._start_of(trainees[client], report) for client, report in reports.items()]
        norms = update_norms([report.adapter for report in reports.values()], starts, self._sizes())
        self.proportions = dict(zip(reports, proportions(norms).tolist(), strict=True))
        for client, ratio in self.proportions.items():
            if ratio > settings.factor:
                error = out_of_proportion(client, ratio, "guard.factor", settings.factor)
                self.inbox.reject(self.trained, client, server_round, error)

    def _sizes(self) -> Tensor:
        """Training examples of those who reported, float64 [n], none more than its largest share."""
        examples = torch.tensor([report.examples for report in self.trained.reports.values()])
        return capped_sizes(examples, self.config.guard.largest_share if self.config.guard.on else 1.0)

    def _heats(self, reports: Mapping[str, TrainReport], age: int) -> Tensor:
        """w_c(t) [n]; losses are compared as over catalogues of one size, since cross entropy grows with ln(items)."""
        chance = [
            math.log(max(2, member.facts.items)) for client, member in self.trainees().items() if client in reports
        ]
        typical = sum(chance) / len(chance)
        losses = [report.loss * typical / ours for report, ours in zip(reports.values(), chance, strict=True)]
        settings = self.config.fellrec
        return heat(
            torch.tensor(losses, dtype=torch.float64), age, settings.alpha, settings.beta, settings.loss_temperature
        )

    def _start_of(self, member: Member, report: TrainReport) -> Adapter:
        return member.mixed if member.own is None else self._step(member.mixed, member.own, report.share)

    def _step(self, mixed: Adapter, own: Adapter, share: float) -> Adapter:
        return interpolate(mixed, own, share, self.plan.rule.merge)

    def _hand_on(self, common: Adapter, reports: Mapping[str, TrainReport]) -> None:
        """A shared adapter goes to everybody, present or not; a personal one only to who reported. Then both are averaged."""
        shared = self.plan.scope is Scope.SHARED
        receivers = {client: member for client, member in self.clients if shared or client in reports}
        if shared:
            for member in receivers.values():
                member.mixed = common
        self.mixed_average.add({client: member.mixed for client, member in receivers.items()})
        self.own_average.add({client: report.adapter for client, report in reports.items() if client != POOL})
