"""What the server knows of each client: its adapter, loss, pace and node. Keyed by the client's own name, never by node."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from flwr.app import RecordDict

from common.errors import MessageError, RunError
from common.events import EventLog
from common.low_rank import Adapter
from common.messages import ClientFacts, Roster
from common.record_fields import readable


@dataclass
class Member:
    """One client.

    Attributes
    ----------
    node : the Flower node that hosts it now; None while it is away.
    mixed : the adapter that its next round starts from.
    own : the adapter that it sent last; None before its first report.
    heat : w_c of its last report; None before the first.
    share : the own share that it chose last.
    """

    facts: ClientFacts
    node: int | None
    mixed: Adapter
    own: Adapter | None = None
    heat: float | None = None
    share: float = 0.0
    bytes_down: list[int] = field(default_factory=list)
    bytes_up: list[int] = field(default_factory=list)


class Clients:
    """The members of the federation, in the order of their names; ``simulated`` tells whether their nodes are real ones."""

    def __init__(self) -> None:
        self.simulated = False
        self._members: dict[str, Member] = {}

    def __iter__(self) -> Iterator[tuple[str, Member]]:
        return iter(sorted(self._members.items()))

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, client: str) -> bool:
        return client in self._members

    def __getitem__(self, client: str) -> Member:
        return self._members[client]

    def present(self) -> dict[str, Member]:
        """Those whose node is here."""
        return {client: member for client, member in self if member.node is not None}

    def nodes(self) -> set[int]:
        """The nodes that are known to host somebody."""
        return {member.node for _, member in self if member.node is not None}

    def welcome(self, facts: ClientFacts, node: int, adapter: Adapter) -> bool:
        """Takes in a client, or notes where a known one lives now; returns whether it is new.

        Raises
        ------
        RunError : two nodes claim the same client, or a known client came back with other data.
        """
        known = self._members.get(facts.client)
        if known is None:
            self._members[facts.client] = Member(facts, node, adapter)
            return True
        if known.node is not None and known.node != node:
            raise RunError(
                f"nodes {known.node} and {node} both claim client {facts.client!r}",
                "give every node its own 'client-key'",
            )
        if known.facts.digest != facts.digest:
            raise RunError(f"client {facts.client!r} came back with other data", "start a new run for new data")
        known.node = node
        return False

    def restore(self, member: Member) -> None:
        """Puts back a member that a checkpoint kept."""
        self._members[member.facts.client] = member

    def forget(self, node: int) -> None:
        """Drops the clients of a node, as if they had never joined."""
        self._members = {client: member for client, member in self._members.items() if member.node != node}

    def away(self, gone: set[int]) -> list[str]:
        """Notes that these nodes have left; returns the names of their clients."""
        names = [client for client, member in self if member.node in gone]
        for client in names:
            self._members[client].node = None
        return names


class ClientRegister:
    """Takes clients in and notes who left, as a roll call finds them; see ``server_app.roll_call.Register``.

    Parameters
    ----------
    newcomer : the adapter that a client starts from when it joins.
    """

    def __init__(self, clients: Clients, newcomer: Callable[[], Adapter], log: EventLog) -> None:
        self._clients, self._newcomer, self._log = clients, newcomer, log
        self._real = False
        self._simulated: set[int] = set()

    def here(self) -> int:
        """How many clients are present."""
        return len(self._clients.present())

    def depart(self, present: set[int]) -> None:
        """Clients of other nodes than these are away from now on."""
        for client in self._clients.away(self._clients.nodes() - present):
            self._log.write("away", client=client)

    def admit(self, node: int, answer: RecordDict) -> None:
        """Welcomes a node's clients; raises MessageError for an answer that cannot be, RunError as :meth:`Clients.welcome`."""
        with readable(f"the answer of node {node}"):
            roster = Roster.from_record(answer)
        self._check_size(node, roster)
        adapter = self._newcomer()
        for facts in roster.clients:
            new = self._clients.welcome(facts, node, adapter)
            self._log.write("joined" if new else "back", client=facts.client, users=facts.users, items=facts.items,
                            train_interactions=facts.train_interactions, dataset=facts.dataset)  # fmt: skip

    def _check_size(self, node: int, roster: Roster) -> None:
        """Sees to it that a real node joins as one client: only in simulation does a node host several.

        One real node is enough for a federation to be real: from then on whoever calls itself simulated is refused, and whoever
        did so before is left out.
        """
        if roster.simulated and self._real:
            raise MessageError(f"node {node} says that it is simulated, and others are real", "give it a 'client-key'")
        if not roster.simulated:
            if len(roster.clients) != 1:
                raise MessageError(
                    f"node {node} names {len(roster.clients)} clients", "a real node hosts the one of its 'client-key'"
                )
            for other in sorted(self._simulated):
                self._clients.forget(other)
                self._log.write(
                    "refused", node=str(other), code=MessageError.code,
                    reason=f"node {other} said that it is simulated, and node {node} is real",
                )  # fmt: skip
            self._simulated.clear()
            self._real = True
        else:
            self._simulated.add(node)
        self._clients.simulated = not self._real
