"""What comes back from clients: each reply is accepted, or rejected by the client's name and a reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from flwr.app import Message

from common.errors import FellrecError, MessageError
from common.events import EventLog
from common.low_rank import Adapter
from common.messages import EvaluateReport, TrainReport, check_adapter
from common.record_fields import message_bytes, readable
from server_app.failures import failure
from server_app.report_limits import ReportLimits

Report = TypeVar("Report", TrainReport, EvaluateReport)

SILENT = "silent"
"""In place of an error code: no reply came within the round's time."""


@dataclass
class Outcome(Generic[Report]):
    """Reports by client, why the others gave none, and the bytes that each sent; in the order of the clients' names."""

    reports: dict[str, Report] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    received: dict[str, int] = field(default_factory=dict)


class Inbox:
    """Knows which message went to whom: a reply counts for that client, whatever it says of itself.

    Parameters
    ----------
    like : an adapter with the names and shapes that every report must have.
    """

    def __init__(self, like: Adapter, log: EventLog) -> None:
        self._like, self._log = like, log
        self._sent: Sequence[tuple[str, Message]] = ()
        self._limits: Mapping[str, ReportLimits] = {}

    def expect(self, sent: Sequence[tuple[str, Message]], limits: Mapping[str, ReportLimits]) -> None:
        """From now on, replies are to these messages; ``limits`` says by client what each may report."""
        self._sent, self._limits = sent, limits

    def client_of(self, reply: Message) -> str | None:
        """The client whose message this answers. (Flower gives a message its id when it is sent.)"""
        asked = reply.metadata.reply_to_message_id
        return next((client for client, message in self._sent if message.metadata.message_id == asked), None)

    def take_in(self, replies: Iterable[Message], round_number: int, kind: type[Report]) -> Outcome[Report]:
        """Reads the replies to the messages expected; whatever is wrong with one costs only its own client the round."""
        outcome: Outcome[Report] = Outcome(failed={client: SILENT for client, _ in self._sent})
        for reply in replies:
            client = self.client_of(reply)
            if client is None:
                continue
            try:
                outcome.reports[client] = self._read(reply, client, round_number, kind)
            except FellrecError as error:
                self.reject(outcome, client, round_number, error)
                continue
            outcome.received[client] = message_bytes(reply.content)
            outcome.failed.pop(client, None)
        for client in (client for client, why in outcome.failed.items() if why == SILENT):
            self._log.write(
                "rejected", client=client, round=round_number, code=SILENT, reason="no reply within the round's time"
            )
        outcome.reports = dict(sorted(outcome.reports.items()))
        return outcome

    def reject(self, outcome: Outcome[Report], client: str, round_number: int, error: FellrecError) -> None:
        """Leaves a client out of the round, by name and with the reason."""
        outcome.reports.pop(client, None)
        outcome.failed[client] = error.code
        self._log.write("rejected", client=client, round=round_number, code=error.code, reason=str(error))

    def _read(self, reply: Message, client: str, round_number: int, kind: type[Report]) -> Report:
        if reply.has_error():
            raise failure(reply.error, f"client {client!r}")
        with readable(f"the reply of client {client!r}"):
            report = kind.from_record(reply.content)
        if report.client != client or report.round != round_number:
            raise MessageError(f"client {client!r} answered for client {report.client!r}, round {report.round!r}")
        self._limits[client].check(report)
        if isinstance(report, TrainReport):
            check_adapter(report.adapter, self._like, f"client {client!r}")
        return report
