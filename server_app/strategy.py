"""The flow of a run: who is here, round after round until the end or until nothing gets better, then the measurement.

:meth:`FederatedRecommenders.start` overrides Flower's own loop, and the four steps of a round are Flower's own methods:
configure, let train, take in, mix. They are the same for every strategy and every kind of model; what differs stands in
``common.scopes`` (whose tensors go where) and in ``server_app.strategies`` (by which rule they are mixed).
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Result, Strategy
from torch import Tensor

from common.config import RunConfig
from common.errors import RunError, SplitError
from common.evaluation.rankings import balance
from common.events import EventLog, Measuring, Replied, RoundEnded, RoundStarted, StrategyChosen, Validated, Warned
from common.messages import POOL
from common.messages.report import VALIDATION
from common.privacy.budget import accountant, release_settings
from common.recommenders.federated import FederatedModel
from common.run_folder import RunFolder
from common.scopes import MIXED, Scope
from server_app.aggregation.guard import capped_sizes, out_of_proportion, proportions
from server_app.aggregation.heating import heat, pace
from server_app.checkpoint import from_checkpoint, to_checkpoint
from server_app.hosting import Hosting
from server_app.inbox import Inbox, Outcome
from server_app.limits import ReportLimits
from server_app.members import Member, Members
from server_app.patience import Patience
from server_app.preconditions import refuse_in_vain
from server_app.roll_call import RollCall
from server_app.round_history import RoundHistory
from server_app.state import Mixed, ServerState
from server_app.strategies import plan
from server_app.tasks import Sent, Tasks
from server_app.transport import FlowerTransport, Stragglers, Transport
from server_app.watch import Watch
from server_app.weights import largest_weights


class FederatedRecommenders(Strategy):
    """Flower's strategy for every plan of ``server_app.strategies``.

    Parameters
    ----------
    config : RunConfig
        Configuration of the run.
    model : FederatedModel
        What is federated.
    folder : RunFolder
        Where checkpoints and adapters are kept.
    log : EventLog
        Where events are written.
    began : float
        When the run began, or went on, by ``time.monotonic``.
    hosting : Hosting or None
        Middle layers, where the server hosts them. Tensors are whole here: a client gets and sends its own part, the
        hosted part joins on the server, so everything between knows nothing of the split.

    Attributes
    ----------
    members : Members
        Clients by name.
    state : ServerState
        Tensors on the server.
    history : RoundHistory
        What happened so far.
    trained, measured : Outcome
        What became of the last messages to train, and of those to measure the end.
    alone : list of int
        Per round, bytes that a client gets which has a message for itself.
    """

    def __init__(
        self,
        config: RunConfig,
        model: FederatedModel,
        folder: RunFolder,
        log: EventLog,
        began: float,
        hosting: Hosting | None = None,
    ) -> None:
        self.config, self.folder, self.hosting = config, folder, hosting
        self.model = model if hosting is None else hosted_scopes(model, hosting)
        self.plan = plan(config, self.model)
        # found here, so that noise without a scale is refused before any client is asked
        self.noise = release_settings(config.privacy, config.num_server_rounds)
        self.state = ServerState(self.model, self.plan, config.strategy.average_rounds)
        self.members = Members(self.model.check, self._newcomer, log, self.model.people)
        self.history = RoundHistory(self.model.measured.PRIMARY, config.federation.patience, log, began)
        self.trained, self.measured = Outcome(), Outcome()
        self.alone: list[int] = []
        self.reported_epsilon = 0.0
        like = self.state.like() if hosting is None else hosting.rest(self.state.like())
        self._inbox = Inbox(self.model, like, log)
        self._tasks = Tasks(config, folder.name, self.state, hosting)
        self._patience, self._watch = Patience(config.federation.timeout), Watch()
        self._log = log
        self._pool: Member | None = None
        self._sent: list[Sent] = []
        self._seconds = config.federation.timeout
        self._proportions: dict[str, float] = {}
        self._mixed = Mixed()
        self._heats: dict[str, float] = {}

    def start(
        self,
        grid: Grid | Transport,
        initial_arrays: ArrayRecord,
        num_rounds: int = 3,
        timeout: float = 3600,
        train_config: ConfigRecord | None = None,
        evaluate_config: ConfigRecord | None = None,
        evaluate_fn: Callable[[int, ArrayRecord], MetricRecord | None] | None = None,
    ) -> Result:
        """Runs all rounds from the first, or from the last checkpoint on, then the final measurement.

        Parameters
        ----------
        grid : Grid or Transport
            What carries messages.
        initial_arrays : ArrayRecord
            Tensors that everybody starts from; the strategy has made them already, as ``model.start``.
        num_rounds : int
            Rounds of the run.
        timeout, train_config, evaluate_config, evaluate_fn
            Flower's; time-outs and settings of a round come from the configuration, and nothing is measured on the server.

        Raises
        ------
        RunError : nobody takes part or can be tested, or too few answered in two rounds in a row.
        """
        transport = FlowerTransport(grid) if isinstance(grid, Grid) else grid
        roll_call = RollCall(transport, self.members, self.config.federation, self._log)
        history, result = self.history, Result()
        self._resume()
        roll_call.first()
        refuse_in_vain(self.config, self.plan, self.members)
        self.summary()
        while len(history) < num_rounds and not history.settled():
            if len(history):
                roll_call.again()
            number = len(history) + 1
            metrics = self._round(number, num_rounds, transport)
            if metrics is not None:
                result.train_metrics_clientapp[number] = metrics
            self.folder.save_checkpoint(number, *to_checkpoint(self))
            history.stop_if_void()
        result.evaluate_metrics_clientapp[len(history)] = self._measure(transport)
        result.arrays = ArrayRecord(self.state.common_result()[0])
        return result

    def summary(self) -> None:
        """Writes to the event log what this strategy is."""
        scopes: dict[str, list[str]] = {}
        for name, scope in self.model.scopes.items():
            scopes.setdefault(scope.value, []).append(name)
        guard, noise = self.config.guard, self.noise
        self._log.write(
            StrategyChosen(
                name=self.config.strategy.name,
                scopes=scopes,
                rules={scope.value: repr(self.plan.rule(scope)) for scope in MIXED if scope.value in scopes},
                groups=self.model.groups,
                heating=self.plan.heating,
                pacing=self.plan.pacing,
                own_share=self.plan.own_share,
                pooled=self.plan.pooled,
                guard={"factor": self._guard_factor()[1]} if guard.on and self.plan.guarded else None,
                noise=None
                if noise is None
                else {
                    "mechanism": noise.mechanism.value,
                    "epsilon": noise.epsilon,
                    "clip": noise.clip,
                    "scale": noise.scale,
                },
            )
        )

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid | None
    ) -> Iterable[Message]:
        """The round's messages; nothing in them is common to all, so ``arrays`` and ``config`` are empty."""
        trainees = self.trainees()
        paces = {client: self.pace_of(member) for client, member in trainees.items()}
        self._sent = self._tasks.train(server_round, trainees, paces, self.config.federation.timeout)
        for sent in self._sent:
            for client in sent.clients:
                traffic = trainees[client].traffic
                traffic.down += sent.bytes / len(sent.clients)
                traffic.rounds_down += 1
                trainees[client].releases += 1
        payload = {client: sent.bytes for sent in self._sent for client in sent.clients}
        self._seconds = self._patience.seconds(payload, payload)
        for first in list(trainees)[:1]:
            self.alone.append(self._tasks.alone(server_round, first, trainees[first]))
        return self._expected(trainees)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Takes in the replies and, where the quorum is met, mixes by every scope's rule.

        What is personal stays with ``members``: what is returned is Flower's form of a round, with the shared tensors.
        Two Nones tell that too few clients answered; every tensor is then as it was.
        """
        trainees = self.trainees()
        self.trained = self._inbox.take_in(replies, server_round, (VALIDATION,), training=True)
        self._proportions, self._mixed, self._heats = {}, Mixed(), {}
        self._join_hosted(server_round)
        self._leave_out(server_round)
        sent = self.trained.contributions
        epsilons = [one.epsilon for one in sent.values() if one.epsilon is not None]
        self.reported_epsilon = max([self.reported_epsilon, *epsilons])
        if len(sent) < self.quorum(len(trainees)):
            return None, None
        sizes, heats = self._sizes(), self._heat(server_round - 1)
        self._tell_capped(server_round, sizes)
        mixing_heats = heats if self.plan.heating else torch.ones(len(sent))
        self._mixed = self.state.step(sent, trainees, sizes, mixing_heats)
        for (client, one), warmth in zip(sent.items(), heats.tolist(), strict=True):
            member = trainees[client]
            member.last, member.heat, member.share = one, warmth, one.share
            member.traffic.up += one.bytes_up
            member.traffic.rounds_up += 1
            member.traffic.down += one.bytes_down
        self._heats = dict(zip(sent, heats.tolist(), strict=True))
        losses = [one.loss for one in sent.values() if one.loss is not None]
        metrics = MetricRecord({"num-examples": sum(one.size for one in sent.values())})
        if losses:
            metrics["loss"] = float(np.average(losses, weights=sizes.tolist()))
        return ArrayRecord(self.state.shared), metrics

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid | None
    ) -> Iterable[Message]:
        """The messages of the final measurement, with the result: the average over the last rounds."""
        present = self.members.present()
        self._sent = self._tasks.evaluate(server_round, present, self.config.federation.timeout)
        self._seconds = self.config.federation.timeout
        return self._expected(present)

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """Takes in the final measurements; returns the test metrics of all clients, None where there are none."""
        self.measured = self._inbox.take_in(replies, server_round, self.model.parts, training=False)
        test = self.measured.measurements.get("test")
        means = test.means() if test is not None else {}
        return MetricRecord({name: value for name, value in means.items() if value is not None}) if means else None

    def trainees(self) -> dict[str, Member]:
        """Who trains: every present client; in centralised training the pool alone, on the first client's node."""
        present = self.members.present()
        if not self.plan.pooled or not present:
            return present
        first = next(iter(present.values()))
        if self._pool is None:
            self._pool = Member(first.facts, first.node, first.personal)
        self._pool.node = first.node
        return {POOL: self._pool}

    def everybody(self) -> Iterable[tuple[str, Member]]:
        """All that a checkpoint keeps: the members, and the pool where there is one."""
        return [*self.members, *([(POOL, self._pool)] if self._pool else [])]

    def restore(self, members: Mapping[str, Member]) -> None:
        """Puts the members of a checkpoint back; they are away until their nodes report."""
        self._pool = members.get(POOL)
        self.members.restore(member for client, member in members.items() if client != POOL)

    def quorum(self, invited: int) -> int:
        """How many of the invited clients must answer: at least one."""
        return max(1, math.ceil(self.config.federation.quorum * invited))

    def pace_of(self, member: Member) -> float:
        """A client's learning rate as a multiple of the run's; before its first report it is as warm as round 0."""
        warmth = member.heat if member.heat is not None else math.tanh(self.config.fellrec.alpha)
        return float(pace(torch.tensor(warmth), "linear" if self.plan.pacing else "none"))

    @property
    def epsilon(self) -> float:
        """The most that any client's releases have cost, 0 without noise: what clients say, or what they were asked for.

        Asked counts: a client charges a release before it leaves, whether the reply is late, lost, or the round void. None
        passes its budget.
        """
        if self.noise is None:
            return 0.0
        account = accountant(self.config.privacy)
        most = max((member.releases for _, member in self.everybody()), default=0)
        return max(self.reported_epsilon, min(account.epsilon_after(self.noise, most), account.max_epsilon))

    def _newcomer(self) -> dict[str, Tensor]:
        return self.state.newcomer(self.members)

    def _resume(self) -> None:
        kept = self.folder.last_checkpoint() if self.config.resume else None
        if kept is not None:
            from_checkpoint(self, *kept)

    def _round(self, number: int, of: int, transport: Transport) -> MetricRecord | None:
        invited = list(self.trainees())
        clock = time.monotonic()
        messages = list(self.configure_train(number, ArrayRecord(), ConfigRecord(), None))
        self._log.write(RoundStarted(number, of, invited, self.quorum(len(invited)), len(messages)))
        elapsed: dict[str, float] = {}

        def arrived(reply: Message) -> None:
            for client in self._arrived(number, reply):
                elapsed[client] = time.monotonic() - clock

        stragglers, factor = None, self.config.federation.stragglers
        if factor and not self.members.simulated:
            stragglers = Stragglers(self.quorum(len(messages)), factor)
        replies = transport.ask(messages, self._seconds, arrived, stragglers)
        answered = time.monotonic()
        _, metrics = self.aggregate_train(number, replies)
        self._look(number, elapsed)
        evaluating = self.trained.seconds.get("evaluate", 0.0)
        # Clients measured before they trained: that is the quality of the round before this one.
        self._note_validation(self.trained)
        record: dict[str, Any] = {
            "round": number,
            "seconds": {
                "train": round(answered - clock - evaluating, 3),
                "aggregate": round(time.monotonic() - answered, 3),
                "evaluate": round(evaluating, 3),
            },
            "loss": None if metrics is None or "loss" not in metrics else metrics["loss"],
            "clients_ok": len(self.trained.contributions),
            "clients_failed": self.trained.failed,
            "void": metrics is None,
        }
        self.history.done.append({**record, self.model.measured.PRIMARY: None})
        self._log.write(
            RoundEnded(
                **record,
                clients=self._contributions_in_log(),
                weights=largest_weights(self._mixed.weights, list(self.trained.contributions)),
                participants=self._mixed.participants,
                nodes=self.trained.seconds,
            )
        )
        return metrics

    def _contributions_in_log(self) -> dict[str, dict[str, Any]]:
        """What the log says of every contribution; what does not apply is left out."""
        trainees, found = self.trainees(), {}
        for client, one in self.trained.contributions.items():
            fields = {
                "loss": one.loss,
                "size": one.size,
                "share": one.share if self.plan.own_share else None,
                "heat": self._heats.get(client) if self.plan.heating or self.plan.pacing else None,
                "pace": self.pace_of(trainees[client]) if self.plan.pacing else None,
                "proportion": self._proportions.get(client),
                "bytes": {"up": one.bytes_up, "down": one.bytes_down + self._bytes_down.get(client, 0.0)},
                "seconds": one.seconds if len(self._sent) == len(trainees) else None,
            }
            found[client] = {key: value for key, value in fields.items() if value is not None}
        return found

    def _expected(self, members: Mapping[str, Member]) -> list[Message]:
        self._bytes_down = {client: one.bytes / len(one.clients) for one in self._sent for client in one.clients}
        limits = {client: self._limits(client, member) for client, member in members.items()}
        self._inbox.expect([(one.clients, one.message) for one in self._sent], limits)
        return [one.message for one in self._sent]

    def _limits(self, client: str, member: Member) -> ReportLimits:
        facts = [one.facts for _, one in self.members] if client == POOL else [member.facts]
        return ReportLimits.of(facts, self.config.train, self.state.own(member) is not None, self.model.people)

    def _arrived(self, number: int, reply: Message) -> tuple[str, ...]:
        clients = self._inbox.clients_of(reply)
        self._log.write(Replied(number, list(clients), not reply.has_error()))
        return clients

    def _look(self, number: int, elapsed: Mapping[str, float]) -> None:
        """Learns how long clients take, and tells the operator what to look at."""
        sent, members = self.trained.contributions, self.trainees()
        for client in sent.keys() & elapsed.keys():
            self._patience.note(client, elapsed[client])
        hosts = Counter(member.node for member in members.values())
        alone = {client: hosts[member.node] == 1 for client, member in members.items()}
        for notice in self._watch.look(sent, elapsed, alone):
            self._log.write(Warned(number, **asdict(notice)))

    def _note_validation(self, outcome: Outcome) -> None:
        """Completes the record of the last whole round by what its tensors achieve on validation data."""
        measurement = outcome.measurements.get(VALIDATION)
        means, own = (measurement.means(), measurement.primary()) if measurement is not None else ({}, {})
        primary = self.model.measured.PRIMARY
        if not own or means.get(primary) is None:
            return
        self.history.validated(means[primary])
        self._log.write(Validated(len(self.history), primary, means, balance(own), own))

    def _measure(self, transport: Transport) -> MetricRecord:
        last, present = len(self.history), self.members.present()
        self._log.write(Measuring(list(present)))
        messages = self.configure_evaluate(last, ArrayRecord(), ConfigRecord(), None)
        replies = transport.ask(messages, self._seconds, lambda reply: self._arrived(last, reply))
        metrics = self.aggregate_evaluate(last, replies)
        if metrics is None:
            failed = dict(list(self.measured.failed.items())[:3])
            raise RunError(f"no client measured anything on its test data: {failed!r}", "see each client's log")
        for client, share in self.measured.shares.items():
            self.folder.save_adapter(client, self.state.served(client, self.members[client], share))
        self._note_validation(self.measured)
        return metrics

    def _join_hosted(self, server_round: int) -> None:
        """Commits the hosted part of every contribution and joins it to the client's; rolls back everybody else's."""
        if self.hosting is None:
            return
        for client in self.trained.failed:
            self.hosting.forget(client)
        for client, one in list(self.trained.contributions.items()):
            try:
                hosted = self.hosting.commit(client, server_round, one.share, one.hosted_steps)
            except SplitError as error:
                self.hosting.forget(client)
                self._inbox.reject(self.trained, [client], server_round, error.code, str(error))
                continue
            self.trained.contributions[client] = replace(one, adapter=one.adapter | hosted)

    def _leave_out(self, server_round: int) -> None:
        """Leaves out, by name, every client whose contribution is out of all proportion to the others'."""
        sent = self.trained.contributions
        if not (self.config.guard.on and self.plan.guarded and sent):
            return
        norms = self.state.norms(sent, self.trainees())
        if not self.model.gradients:
            # an honest update's norm grows with the square root of the examples that it was trained on
            norms = norms / self._sizes().sqrt()
        self._proportions = dict(zip(sent, proportions(norms).tolist(), strict=True))
        setting, factor = self._guard_factor()
        for client, ratio in self._proportions.items():
            if ratio > factor:
                error = out_of_proportion(client, ratio, setting, factor)
                self._inbox.reject(self.trained, [client], server_round, error.code, str(error))

    def _guard_factor(self) -> tuple[str, float]:
        guard = self.config.guard
        if self.model.gradients:
            return "guard.gradient-factor", guard.gradient_factor
        return "guard.factor", guard.factor

    def _sizes(self) -> Tensor:
        """Sizes of those who contributed, float64 [n], none more than its largest share."""
        sizes = torch.tensor([one.size for one in self.trained.contributions.values()], dtype=torch.float64)
        return capped_sizes(sizes, self.config.guard.largest_share if self.config.guard.on else 1.0)

    def _tell_capped(self, server_round: int, sizes: Tensor) -> None:
        if not self.plan.guarded:
            return
        for (client, one), size in zip(self.trained.contributions.items(), sizes.tolist(), strict=True):
            if size < one.size:
                self._log.write(
                    Warned(
                        server_round,
                        client,
                        "size",
                        f"its {one.size:.0f} examples would outweigh all others: they count as {size:.0f}",
                        "raise 'guard.largest-share' where it honestly has so many",
                    )
                )

    def _heat(self, age: int) -> Tensor:
        """w_c(t) [n]; losses are compared as multiples of a guess's, since cross entropy grows with ln(items)."""
        sent, trainees = self.trained.contributions, self.trainees()
        chance = [self.model.measured.chance(trainees[client].facts.set.items) for client in sent]
        typical = sum(chance) / len(chance)
        losses = [(one.loss or 0.0) * typical / ours for one, ours in zip(sent.values(), chance, strict=True)]
        settings = self.config.fellrec
        return heat(
            torch.tensor(losses, dtype=torch.float64), age, settings.alpha, settings.beta, settings.loss_temperature
        )


def hosted_scopes(model: FederatedModel, hosting: Hosting) -> FederatedModel:
    """The model as the split has it: what a strategy keeps private stays where it is hosted, with the server, unmixed."""
    hosted = hosting.part(model.start)
    scopes = {
        name: Scope.PERSONAL if scope is Scope.PRIVATE and name in hosted else scope
        for name, scope in model.scopes.items()
    }
    return replace(model, scopes=scopes)
