"""What comes back from nodes: a message is read or refused as a whole, its clients' contributions one by one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from flwr.app import Message

from common.errors import FellrecError, MessageError
from common.events import EventLog, Rejected
from common.low_rank import Adapter
from common.messages import Clicks, Measurement, Report, check_adapter, message_bytes, readable
from common.messages.adapter import odd_values
from common.messages.measurement import joined
from common.recommenders.federated import FederatedModel
from server_app.failures import failure
from server_app.limits import ReportLimits
from server_app.members import Contribution

SILENT = "silent"
"""In place of an error code: no reply came within the round's time."""

LEFT_OUT = "left-out"
"""In place of an error code: the client itself, or its node, has left it out."""


@dataclass
class Outcome:
    """Of all messages of a round together.

    Attributes
    ----------
    contributions : dict of Contribution
        What each client sent, in the order of their names.
    measurements : dict of Measurement
        What was measured, by part.
    shares : dict of float
        Own share that each measured client chose.
    details : dict
        Further numbers of each client, by name and key.
    failed : dict of str
        Code or reason for each client that was asked and did not answer well.
    seconds : dict of float
        Seconds of the slowest node, by what it did.
    memory : float
        Greatest peak memory of a node, in bytes.
    """

    contributions: dict[str, Contribution] = field(default_factory=dict)
    measurements: dict[str, Measurement] = field(default_factory=dict)
    shares: dict[str, float] = field(default_factory=dict)
    details: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    memory: float = 0.0


class Inbox:
    """Knows which message went to whom: a reply counts for those clients, whatever it says of itself.

    Parameters
    ----------
    model : FederatedModel
        What is federated.
    like : Adapter
        Tensor of each name that a contribution must have, in one client's shape.
    log : EventLog
        Where refusals are written.
    """

    def __init__(self, model: FederatedModel, like: Adapter, log: EventLog) -> None:
        self._model, self._like, self._log = model, like, log
        self._groups = list(model.groups.values())
        self._messages: list[tuple[tuple[str, ...], Message]] = []
        self._asked: dict[str, tuple[str, ...]] = {}
        self._limits: Mapping[str, ReportLimits] = {}

    def expect(self, sent: Iterable[tuple[Sequence[str], Message]], limits: Mapping[str, ReportLimits]) -> None:
        """From now on, replies are to these messages, each for those clients; ``limits`` hold by client."""
        # a message has its identity once it is sent: so the messages themselves are kept
        self._messages = [(tuple(clients), message) for clients, message in sent]
        self._asked = {}
        self._limits = limits

    def clients_of(self, reply: Message) -> tuple[str, ...]:
        """The clients whose message this answers; none where it answers nothing that was asked."""
        if not self._asked:
            self._asked = {message.metadata.message_id: clients for clients, message in self._messages}
        return self._asked.get(reply.metadata.reply_to_message_id, ())

    def take_in(self, replies: Iterable[Message], round_number: int, parts: Sequence[str], training: bool) -> Outcome:
        """All that is right in the replies.

        Parameters
        ----------
        replies : Iterable[Message]
            What came back.
        round_number : int
            Number of the round.
        parts : Sequence[str]
            Parts that every report has to measure.
        training : bool
            Whether contributions are expected.
        """
        outcome = Outcome(failed={client: SILENT for clients, _ in self._messages for client in clients})
        measured: list[Mapping[str, Measurement]] = []
        for reply in replies:
            asked = self.clients_of(reply)
            if not asked:
                continue
            try:
                with readable(f"the reply of {_whose(asked)}"):
                    report = self._read(reply, asked, round_number, parts, training)
            except FellrecError as error:
                self.reject(outcome, asked, round_number, error.code, str(error))
                continue
            if report.measured:
                measured.append(report.measurements)
            self._note(outcome, report)
            for client, reason in report.left_out.items():
                self.reject(outcome, [client], round_number, LEFT_OUT, reason)
            if training:
                size = message_bytes(reply.content) / max(1, len(asked))
                self._contributions(outcome, report, round_number, size)
        for clients, _ in self._messages:
            silent = [client for client in clients if outcome.failed.get(client) == SILENT]
            if silent:
                self.reject(outcome, silent, round_number, SILENT, "no reply within the round's time")
        outcome.contributions = dict(sorted(outcome.contributions.items()))
        outcome.measurements = joined(measured)
        return outcome

    def reject(self, outcome: Outcome, clients: Sequence[str], round_number: int, code: str, reason: str) -> None:
        """Leaves clients out of the round, by name and with the reason."""
        for client in clients:
            outcome.contributions.pop(client, None)
            outcome.failed[client] = code
        self._log.write(Rejected(round_number, list(clients), code, reason))

    def _read(
        self, reply: Message, asked: Sequence[str], round_number: int, parts: Sequence[str], training: bool
    ) -> Report:
        if reply.has_error():
            raise failure(reply.error, _whose(asked))
        report = Report.from_record(reply.content, self._model.measured, self._groups)
        strange = (set(report.clients) | set(report.measured) | set(report.left_out)) - set(asked)
        if report.round != round_number or strange:
            raise MessageError(f"answered for round {report.round!r} and clients {sorted(strange)[:3]!r}")
        if report.measured and not set(parts) <= set(report.measurements):
            raise MessageError(f"measured {sorted(report.measurements)!r}, not {list(parts)!r}")
        for place, client in enumerate(report.measured):
            self._limits[client].check_share(report.shares[place])
        for part, measurement in report.measurements.items():
            for client, cases in measurement.sizes().items():
                self._limits[client].check_cases(f"{part}.{measurement.SIZE}", cases)
            if isinstance(measurement, Clicks):
                known = sum(self._limits[client].cases for client in report.measured)
                if measurement.most_rows() > known:
                    raise MessageError(
                        f"part {part!r} counts {measurement.most_rows()!r} rows, the clients joined with {known!r}",
                        "start a new run for new data",
                    )
        if training and report.clients:
            check_adapter(report.contribution, self._like, _whose(asked), len(report.clients))
        return report

    def _note(self, outcome: Outcome, report: Report) -> None:
        outcome.shares |= dict(zip(report.measured, report.shares, strict=True))
        for name, columns in report.details.items():
            for key, values in columns.items():
                for client, value in zip(report.measured, values, strict=True):
                    outcome.details.setdefault(client, {}).setdefault(name, {})[key] = value
        for name, value in report.seconds.items():
            outcome.seconds[name] = max(outcome.seconds.get(name, 0.0), value)
        outcome.memory = max(outcome.memory, report.memory.get("peak", 0.0))
        for client in report.measured:
            outcome.failed.pop(client, None)

    def _contributions(self, outcome: Outcome, report: Report, round_number: int, size: float) -> None:
        """Takes up a report's contributions one by one; whose numbers are wrong is left out by name."""
        for client in set(report.measured) - set(report.clients) - set(report.left_out):
            self.reject(outcome, [client], round_number, LEFT_OUT, "it contributes nothing")
        odd, each = odd_values(report.contribution), [tensor.unbind() for tensor in report.contribution.values()]
        names = list(report.contribution)
        for place, client in enumerate(report.clients):
            own = {name: rows[place] for name, rows in zip(names, each, strict=True)}
            try:
                if place in odd:
                    raise MessageError(f"client {client!r}: {odd[place]}")
                self._limits[client].check_size(report.sizes[place])
            except MessageError as error:
                self.reject(outcome, [client], round_number, error.code, str(error))
                continue
            up, down = (report.traffic.get(way, [0.0] * len(report.clients))[place] for way in ("up", "down"))
            outcome.contributions[client] = Contribution(
                adapter=own,
                loss=report.losses[place] if report.losses else None,
                size=report.sizes[place],
                round=round_number,
                share=outcome.shares.get(client, 0.0),
                epsilon=report.epsilons[place] if report.epsilons else None,
                hosted_steps=report.hosted_steps[place] if report.hosted_steps else 0,
                bytes_up=size + up,
                bytes_down=down,
                memory=dict(report.memory),
                seconds=dict(report.seconds),
            )


def _whose(clients: Sequence[str]) -> str:
    return f"client {clients[0]!r}" if len(clients) == 1 else f"a node of {len(clients)} clients"
