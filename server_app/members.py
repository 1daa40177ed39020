"""What the server knows of each client: its data in numbers, its node, its tensors, what it contributed last.

Keyed by the client's own name, never by node: clients leave and come back on other nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from flwr.app import RecordDict

from common.errors import MessageError, RunError
from common.events import Away, EventLog, Joined, Refused
from common.low_rank import Adapter
from common.messages import ClientFacts, Roster, readable
from common.version import app_identity


@dataclass(frozen=True, eq=False)
class Contribution:
    """What one client sent in a round.

    Attributes
    ----------
    adapter : Adapter
        Trained tensors, or gradients where the model's scope takes those; hosted parts included.
    loss : float or None
        Mean training loss; None where it was not told.
    size : float
        Training examples.
    round : int
        Number of the round.
    share : float
        Own share that it chose.
    epsilon : float or None
        What its releases have cost so far; None without noise.
    hosted_steps : int
        Steps that its hosted adapter must have made.
    bytes_up, bytes_down : float
        Bytes of its part of the reply, and of what went to and came from hosted layers.
    memory : Mapping of float
        Peak and limit of its node, in bytes.
    seconds : Mapping of float
        Seconds of its node.
    """

    adapter: Adapter
    loss: float | None
    size: float
    round: int
    share: float = 0.0
    epsilon: float | None = None
    hosted_steps: int = 0
    bytes_up: float = 0.0
    bytes_down: float = 0.0
    memory: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass
class Traffic:
    """Bytes to and from one client, summed over its rounds."""

    up: float = 0.0
    rounds_up: int = 0
    down: float = 0.0
    rounds_down: int = 0


@dataclass
class Member:
    """One client.

    Attributes
    ----------
    facts : ClientFacts
        What it told when it joined.
    node : int or None
        Flower node that hosts it now; None while it is away.
    personal : Adapter
        Its own mix of the personal tensors, from which its next round starts.
    last : Contribution or None
        What it contributed last; None before its first.
    heat : float or None
        w_c after its last contribution.
    share : float
        Own share that it chose last.
    releases : int
        How often it was asked to train, and so may have charged a release to its privacy account.
    traffic : Traffic
        Bytes so far.
    """

    facts: ClientFacts
    node: int | None
    personal: Adapter = field(default_factory=dict)
    last: Contribution | None = None
    heat: float | None = None
    share: float = 0.0
    releases: int = 0
    traffic: Traffic = field(default_factory=Traffic)


class Members:
    """The members of the federation by name, in the order of their names, as a roll call finds them.

    Parameters
    ----------
    check : callable
        Refuses a client whose data do not fit the model.
    newcomer : callable
        Personal tensors that a client starts from when it joins.
    log : EventLog
        Where comings and goings are written.
    people : bool
        Whether each client is one person, so that a real node may host several.

    Attributes
    ----------
    simulated : bool
        Whether no real node has joined.
    """

    def __init__(
        self,
        check: Callable[[ClientFacts], None],
        newcomer: Callable[[], Adapter],
        log: EventLog,
        people: bool = False,
    ) -> None:
        self._check, self._newcomer, self._log, self._people = check, newcomer, log, people
        self._members: dict[str, Member] = {}
        self._real = False
        self._simulated_nodes: set[int] = set()
        self.simulated = False

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

    def here(self) -> int:
        """How many clients are present."""
        return sum(member.node is not None for member in self._members.values())

    def depart(self, present: set[int]) -> None:
        """Clients of other nodes than these are away from now on."""
        gone: dict[int, list[str]] = {}
        for client, member in self:
            if member.node is not None and member.node not in present:
                gone.setdefault(member.node, []).append(client)
                member.node = None
        for clients in gone.values():
            self._log.write(Away(clients))

    def admit(self, node: int, answer: RecordDict) -> None:
        """Takes in a node's clients.

        Raises
        ------
        MessageError : the answer is malformed, or a client does not fit the model.
        RunError : two nodes claim one client, or a client came back with other data.
        """
        with readable(f"the answer of node {node}"):
            roster = Roster.from_record(answer)
        if roster.app != app_identity():
            raise MessageError(f"node {node} runs fellrec {roster.app!r}, not {app_identity()!r}")
        for facts in roster.clients:
            self._check(facts)
            self._check_known(facts, node)
        self._check_size(node, roster)
        personal, back = self._newcomer(), []
        for facts in roster.clients:
            if facts.client in self._members:
                self._members[facts.client].node = node
                back.append(facts.client)
            else:
                self._members[facts.client] = Member(facts, node, personal)
        joined = {
            facts.client: {
                "users": facts.users,
                "items": facts.set.items,
                "train_interactions": facts.train_interactions,
                "dataset": facts.set.dataset,
            }
            for facts in roster.clients
        }
        self._log.write(Joined(joined, back))

    def restore(self, members: Iterable[Member]) -> None:
        """Puts the members of a checkpoint back; they are away until their nodes report."""
        self._members = {member.facts.client: member for member in members}

    def _check_known(self, facts: ClientFacts, node: int) -> None:
        known = self._members.get(facts.client)
        if known is None:
            return
        if known.node is not None and known.node != node:
            raise RunError(
                f"nodes {known.node} and {node} both claim client {facts.client!r}",
                "give every node its own 'client-key'",
            )
        if (known.facts.digest, known.facts.groups) != (facts.digest, facts.groups):
            raise RunError(
                f"client {facts.client!r} came back with other data or groups", "start a new run for new data"
            )

    def _check_size(self, node: int, roster: Roster) -> None:
        """Sees to it that a real node has one vote: only in simulation, and where clients are people, it hosts several.

        One real node is enough for a federation to be real: from then on whoever calls itself simulated is refused, and
        whoever did so before is left out.
        """
        if roster.simulated and self._real:
            raise MessageError(f"node {node} says that it is simulated, and others are real", "give it a 'client-key'")
        if roster.simulated:
            self._simulated_nodes.add(node)
        else:
            if not self._people and len(roster.clients) != 1:
                raise MessageError(
                    f"node {node} names {len(roster.clients)} clients", "a real node hosts the one of its 'client-key'"
                )
            for other in sorted(self._simulated_nodes):
                self._members = {name: member for name, member in self._members.items() if member.node != other}
                reason = f"node {other} said that it is simulated, and node {node} is real"
                self._log.write(Refused(str(other), MessageError.code, reason))
            self._simulated_nodes.clear()
            self._real = True
        self.simulated = not self._real
