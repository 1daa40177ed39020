"""What the server knows of each client where one user is one client: its groups, and the node that hosts it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from flwr.app import RecordDict

from common.crowd_messages import CrowdRoster, SetFacts
from common.errors import MessageError, RunError
from common.events import EventLog
from common.recommenders.click_build import ClickRun
from common.record_fields import readable
from common.version import app_identity


@dataclass
class CrowdMember:
    """One client.

    Attributes
    ----------
    codes : its value of each grouping attribute. node : that hosts it now; None while it is away.
    releases : how often it was asked to train, and so may have charged a release to its privacy account.
    """

    codes: tuple[int, ...]
    node: int | None
    releases: int = 0


class CrowdMembers:
    """The clients by name, in the order of their names, as a roll call finds them (``server_app.roll_call.Register``)."""

    def __init__(self, click: ClickRun, log: EventLog) -> None:
        self._click, self._log = click, log
        self._members: dict[str, CrowdMember] = {}
        self._facts: dict[int, SetFacts] = {}
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

    def facts_of(self, node: int) -> SetFacts:
        """What this node told of its data."""
        return self._facts[node]

    def here(self) -> int:
        """How many clients are present."""
        return len(self._members) - len(self.away())

    def depart(self, present: set[int]) -> None:
        """Clients of other nodes than these are away from now on."""
        for node in self._facts.keys() - present:
            gone = [client for client, member in self._members.items() if member.node == node]
            for client in gone:
                self._members[client].node = None
            del self._facts[node]
            self._log.write("crowd_away", clients=len(gone))

    def admit(self, node: int, answer: RecordDict) -> None:
        """Takes in a node's clients.

        Raises
        ------
        MessageError : the answer is malformed, or does not fit the warm start.
        RunError : two nodes claim one client, or a client came back in other groups.
        """
        with readable(f"the answer of node {node}"):
            roster = CrowdRoster.from_record(answer)
        if roster.app != app_identity():
            raise MessageError(f"node {node} runs fellrec {roster.app!r}, not {app_identity()!r}")
        self._check(roster, node)
        # one real node is enough for a federation to be real, whatever the others say
        self.simulated = roster.simulated and (self.simulated or not self._members)
        for client, codes in zip(roster.clients, roster.codes.tolist(), strict=True):
            known = self._members.get(client)
            self._members[client] = CrowdMember(tuple(codes), node, known.releases if known else 0)
        self._facts[node] = roster.facts
        self._log.write(
            "crowd_joined", clients=len(roster.clients), interactions=roster.facts.interactions,
            train_interactions=roster.facts.train_interactions, dataset=roster.facts.dataset,
        )  # fmt: skip

    def count_release(self, clients: Iterable[str]) -> None:
        """Notes that these were asked to train."""
        for client in clients:
            self._members[client].releases += 1

    def most_releases(self) -> int:
        """How often any client was asked to train."""
        return max((member.releases for member in self._members.values()), default=0)

    def state(self) -> dict[str, list[int]]:
        """The clients' groups, and at the end of each how often it was asked to train, for a checkpoint."""
        return {client: [*member.codes, member.releases] for client, member in sorted(self._members.items())}

    def restore(self, state: dict[str, list[int]]) -> None:
        """Puts the clients of a checkpoint back; they are away until their nodes report."""
        self._members = {
            client: CrowdMember(tuple(codes), None, releases) for client, (*codes, releases) in state.items()
        }

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
