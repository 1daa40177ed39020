"""What comes back from nodes with many clients: a message is accepted or refused as a whole, a client's numbers one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import torch
from flwr.app import Message
from torch import Tensor

from common.click_counts import ClickCounts
from common.config import GuardConfig
from common.crowd_messages import CLIENT_METRICS, CrowdReport, SetFacts
from common.errors import FellrecError, MessageError
from common.events import EventLog
from common.low_rank import Adapter
from common.messages import LARGEST_VALUE
from common.record_fields import message_bytes, readable
from server_app.aggregation.guard import capped_sizes, out_of_proportion, proportions, row_norms
from server_app.crowd_state import CrowdState
from server_app.failures import failure
from server_app.inbox import SILENT


@dataclass
class Harvest:
    """Of all nodes together: who reports what, and who does not.

    Attributes
    ----------
    upload : gradients by name, [clients, ...], rows in the order of ``clients``.
    counts : by part, of all measured clients. own : by part, each client's metrics; an AUC of -1 does not exist.
    failed : a code or reason for each client that was asked and did not report.
    """

    clients: list[str] = field(default_factory=list)
    upload: Adapter = field(default_factory=dict)
    weights: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    epsilons: list[float] = field(default_factory=list)
    counts: dict[str, ClickCounts] = field(default_factory=dict)
    own: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    bytes_up: int = 0
    peak_memory: int = 0

    def keep(self, places: Sequence[int]) -> None:
        """Keeps the uploads at these places alone, with their clients, weights and losses; measurements stay."""
        self.clients = [self.clients[place] for place in places]
        self.weights = [self.weights[place] for place in places]
        self.losses = [self.losses[place] for place in places] if self.losses else []
        self.upload = {name: tensor[list(places)] for name, tensor in self.upload.items()}


class CrowdInbox:
    """Reads the replies to the messages expected; what is wrong with one costs only its own clients the round.

    Parameters
    ----------
    groups : the number of values of each grouping attribute.
    facts : what a node said of its data when it joined, by node.
    """

    def __init__(
        self,
        state: CrowdState,
        groups: Sequence[int],
        facts: Callable[[int], SetFacts],
        guard: GuardConfig,
        log: EventLog,
    ) -> None:
        self._state, self._groups, self._facts, self._guard, self._log = state, groups, facts, guard, log
        self._sent: Sequence[tuple[Sequence[str], Message]] = ()

    def expect(self, sent: Sequence[tuple[Sequence[str], Message]]) -> None:
        """From now on, replies are to these messages, each for those clients."""
        self._sent = sent

    def clients_of(self, reply: Message) -> Sequence[str]:
        """The clients whose message this answers."""
        asked = reply.metadata.reply_to_message_id
        return next((clients for clients, message in self._sent if message.metadata.message_id == asked), ())

    def _facts_at(self, reply: Message) -> SetFacts:
        """What the node that was asked said when it joined, whatever node a reply calls itself."""
        asked = reply.metadata.reply_to_message_id
        (node,) = (m.metadata.dst_node_id for _, m in self._sent if m.metadata.message_id == asked)
        return self._facts(node)

    def take_in(self, replies: Iterable[Message], number: int, parts: Sequence[str]) -> Harvest:
        """All that is right in the replies; each report has to measure ``parts``."""
        harvest = Harvest(failed={client: SILENT for clients, _ in self._sent for client in clients})
        uploads: list[tuple[str, dict[str, Tensor]]] = []
        for reply in replies:
            asked = self.clients_of(reply)
            if not asked:
                continue
            try:
                with readable(f"the reply of a node of {len(asked)} clients"):
                    report = self._read(reply, asked, number, parts)
            except FellrecError as error:
                self._reject(harvest, asked, number, error.code, str(error))
                continue
            harvest.bytes_up += message_bytes(reply.content)
            self._measured(harvest, report)
            uploads += self._clients(harvest, report, number)
        for clients, _ in self._sent:
            silent = [client for client in clients if harvest.failed.get(client) == SILENT]
            if silent:
                self._reject(harvest, silent, number, SILENT, "no reply within the round's time")
        names = uploads[0][1] if uploads else {}
        harvest.upload = {name: torch.stack([own[name] for _, own in uploads]) for name in names}
        if self._guard.on and harvest.upload:
            self._leave_out(harvest, number)
        return harvest

    def _leave_out(self, harvest: Harvest, number: int) -> None:
        """Leaves out whose upload is out of all proportion to the others', and keeps sizes to their largest share."""
        factor, ratios = self._guard.gradient_factor, proportions(row_norms(harvest.upload))
        for place in (ratios > factor).nonzero().flatten().tolist():
            client = harvest.clients[place]
            error = out_of_proportion(client, float(ratios[place]), "guard.gradient-factor", factor)
            self._reject(harvest, [client], number, error.code, str(error))
        harvest.keep((ratios <= factor).nonzero().flatten().tolist())
        harvest.weights = capped_sizes(torch.tensor(harvest.weights), self._guard.largest_share).tolist()

    def _read(self, reply: Message, asked: Sequence[str], number: int, parts: Sequence[str]) -> CrowdReport:
        if reply.has_error():
            raise failure(reply.error, "its node")
        report = CrowdReport.from_record(reply.content, sum(self._groups))
        strange = (set(report.clients) | set(report.measured) | set(report.left_out)) - set(asked)
        if report.round != number or strange:
            raise MessageError(f"answered for round {report.round!r} and clients {sorted(strange)[:3]!r}")
        if set(report.scores) != set(parts):
            raise MessageError(f"measured {sorted(report.scores)!r}, not {list(parts)!r}")
        self._check_rows(report, self._facts_at(reply))
        fault = self._state.check(report.upload, len(report.clients))
        if fault:
            raise MessageError(fault, "server and clients must use the same model and adapter settings")
        return report

    def _check_rows(self, report: CrowdReport, facts: SetFacts) -> None:
        """Refuses a report of more rows than the node joined with."""
        if sum(report.weights) > max(facts.train_interactions, len(report.clients)):
            raise MessageError(
                f"weights of {sum(report.weights):.6g} rows in all, {facts.train_interactions!r} training rows at joining",
                "the node's clients weigh as many rows as they train on",
            )
        for part, scores in report.scores.items():
            # every row counts once for each grouping attribute
            of_first = int(scores.counts.rows[: self._groups[0]].sum())
            for rows in (of_first, int(scores.counts.rows.sum()) // len(self._groups), sum(scores.clients["rows"])):
                if rows > facts.interactions:
                    raise MessageError(
                        f"part {part!r} counts {rows!r} rows, the node joined with {facts.interactions!r}",
                        "start a new run for new data",
                    )

    def _measured(self, harvest: Harvest, report: CrowdReport) -> None:
        for part, scores in report.scores.items():
            harvest.counts[part] = harvest.counts[part] + scores.counts if part in harvest.counts else scores.counts
            rows = zip(*(scores.clients[name] for name in CLIENT_METRICS), strict=True)
            own = {c: dict(zip(CLIENT_METRICS, row, strict=True)) for c, row in zip(report.measured, rows, strict=True)}
            harvest.own.setdefault(part, {}).update(own)
        for name, value in report.seconds.items():
            harvest.seconds[name] = max(harvest.seconds.get(name, 0.0), value)
        harvest.peak_memory = max(harvest.peak_memory, report.peak_memory)
        for client in report.measured:
            harvest.failed.pop(client, None)

    def _clients(self, harvest: Harvest, report: CrowdReport, number: int) -> list[tuple[str, dict[str, Tensor]]]:
        """The uploads of a report's clients, one by one; whose numbers are wrong is left out by name."""
        found = []
        for client, reason in report.left_out.items():
            self._reject(harvest, [client], number, "left-out", reason)
        for place, client in enumerate(report.clients):
            own = {name: tensor[place] for name, tensor in report.upload.items()}
            loss = report.losses[place] if report.losses else None
            if not all(torch.isfinite(tensor).all() for tensor in own.values()):
                self._reject(harvest, [client], number, "FR400", "its tensors are not finite")
            elif any(float(tensor.abs().max()) > LARGEST_VALUE for tensor in own.values() if tensor.numel()):
                self._reject(harvest, [client], number, "FR400", f"its tensors hold values beyond {LARGEST_VALUE:g}")
            elif report.weights[place] <= 0:
                self._reject(harvest, [client], number, "FR400", f"weight {report.weights[place]!r}")
            else:
                harvest.clients.append(client)
                harvest.weights.append(report.weights[place])
                harvest.losses += [] if loss is None else [loss]
                harvest.epsilons += [report.epsilons[place]] if report.epsilons else []
                found.append((client, own))
        return found

    def _reject(self, harvest: Harvest, clients: Sequence[str], number: int, code: str, reason: str) -> None:
        harvest.failed |= dict.fromkeys(clients, code)
        who = clients[0] if len(clients) == 1 else f"a node of {len(clients)} clients"
        self._log.write("rejected", client=who, clients=list(clients), round=number, code=code, reason=reason)
