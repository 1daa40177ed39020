"""Who is here where one user is one client: nodes are asked for their clients, and take them along when they leave."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from flwr.app import Message, MessageType
from flwr.serverapp import Grid

from common.config import FederationConfig
from common.crowd_messages import CrowdRoster, SetFacts
from common.errors import FellrecError, MessageError, RunError
from common.events import EventLog
from common.messages import Hello
from common.recommenders.click_build import ClickRun
from common.version import app_identity
from server_app.exchange import exchange
from server_app.roll_call import ANSWER_WITHIN, FIRST_ANSWER_WITHIN


@dataclass
class CrowdMember:
    """One client: its value of each grouping attribute, and the node that hosts it now; None while it is away."""

    codes: tuple[int, ...]
    node: int | None


class CrowdMembers:
    """The clients by name, in the order of their names, kept in step with the nodes that Flower sees."""

    def __init__(self, grid: Grid, click: ClickRun, config: FederationConfig, log: EventLog) -> None:
        self._grid, self._click, self._config, self._log = grid, click, config, log
        self._members: dict[str, CrowdMember] = {}
        self._facts: dict[int, SetFacts] = {}
        self._named: set[tuple[int, str]] = set()
        self.simulated = False

    def __len__(self) -> int:
        return len(self._members)

    def __getitem__(self, client: str) -> CrowdMember:
        return self._members[client]

    def by_node(self) -> dict[int, list[str]]:
        """The clients that are here, by node."""
        found: dict[int, list[str]] = {}
        for client, member in sorted(self._members.items()):
            if member.node is not None:
                found.setdefault(member.node, []).append(client)
        return dict(sorted(found.items(), key=lambda row: row[1][0]))

    def away(self) -> list[str]:
        """The clients whose node has left."""
        return sorted(client for client, member in self._members.items() if member.node is None)

    def facts(self) -> list[SetFacts]:
        """What the nodes told of their data."""
        return list(self._facts.values())

    def first(self) -> None:
        """Waits for ``federation.min-clients`` clients, as long as ``federation.nodes-timeout`` allows.

        Raises
        ------
        RunError : nobody came in time that can take part.
        """
        self._until(self._config.min_clients, FIRST_ANSWER_WITHIN)
        if not self.by_node():
            raise RunError(
                f"no node hosts a client that can take part, after {self._config.nodes_timeout:g} s",
                "start SuperNodes, or raise 'federation.nodes-timeout'; the log above has what each node answered",
            )

    def again(self) -> None:
        """Notes who left and who came; where everybody is away, waits for somebody to come back."""
        self._look(ANSWER_WITHIN)
        if not self.by_node():
            self._until(1, ANSWER_WITHIN)

    def state(self) -> dict[str, list[int]]:
        """The clients' groups, for a checkpoint."""
        return {client: list(member.codes) for client, member in sorted(self._members.items())}

    def restore(self, state: dict[str, list[int]]) -> None:
        """Puts the clients of a checkpoint back; they are away until their nodes report."""
        self._members = {client: CrowdMember(tuple(codes), None) for client, codes in state.items()}

    def _until(self, wanted: int, within: float) -> None:
        deadline = time.monotonic() + self._config.nodes_timeout
        self._look(within)
        while len(self._members) - len(self.away()) < wanted and time.monotonic() < deadline:
            time.sleep(0.5)
            self._look(within)

    def _look(self, within: float) -> None:
        here = set(self._grid.get_node_ids())
        for node in self._facts.keys() - here:
            gone = [client for client, member in self._members.items() if member.node == node]
            for client in gone:
                self._members[client].node = None
            del self._facts[node]
            self._log.write("crowd_away", clients=len(gone))
        greeting = Hello(app_identity()).to_record()
        asked = [Message(greeting, node, MessageType.QUERY, ttl=within) for node in sorted(here - self._facts.keys())]
        answers = {reply.metadata.reply_to_message_id: reply for reply in exchange(self._grid, asked, within)}
        for message in asked:
            node = message.metadata.dst_node_id
            try:
                self._take_in(node, answers.get(message.metadata.message_id), within)
            except FellrecError as error:
                if (node, str(error)) not in self._named:
                    self._named.add((node, str(error)))
                    self._log.write("refused", node=str(node), code=error.code, reason=str(error))

    def _take_in(self, node: int, answer: Message | None, within: float) -> None:
        if answer is None:
            raise MessageError(f"node {node} did not answer within {within:g} s")
        if answer.has_error():
            raise MessageError(f"node {node} failed: code {answer.error.code}, {answer.error.reason}")
        roster = CrowdRoster.from_record(answer.content)
        if roster.app != app_identity():
            raise MessageError(f"node {node} runs fellrec {roster.app!r}, not {app_identity()!r}")
        self._check(roster, node)
        self.simulated = roster.simulated
        for client, codes in zip(roster.clients, roster.codes.tolist(), strict=True):
            self._members[client] = CrowdMember(tuple(codes), node)
        self._facts[node] = roster.facts
        self._log.write(
            "crowd_joined", clients=len(roster.clients), interactions=roster.facts.interactions,
            train_interactions=roster.facts.train_interactions, dataset=roster.facts.dataset,
        )  # fmt: skip

    def _check(self, roster: CrowdRoster, node: int) -> None:
        if roster.facts.vocabulary != self._click.base.record["set"]["vocabulary"]:
            raise MessageError(f"node {node} has other items or attributes than the warm start was made on")
        sizes = list(self._click.groups.values())
        if roster.codes.shape[1] != len(sizes) or _outside(roster.codes.T.tolist(), sizes):
            raise MessageError(f"node {node} told groups that the warm start does not know")
        for client, codes in zip(roster.clients, roster.codes.tolist(), strict=True):
            known = self._members.get(client)
            if known is not None and known.node not in (None, node):
                raise RunError(
                    f"nodes {known.node} and {node} both claim client {client!r}",
                    "give every node its own 'client-key'",
                )
            if known is not None and known.codes != tuple(codes):
                raise RunError(f"client {client!r} came back in other groups", "start a new run for new data")


def _outside(columns: Iterable[list[int]], sizes: Iterable[int]) -> bool:
    return any(not 0 <= code < size for column, size in zip(columns, sizes, strict=True) for code in column)
