"""The clients of the service: each has a committed adapter and, while a round is open, a working copy.

Used by the compute thread only.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from common.errors import SplitError
from common.wire import Refused
from server_app.split.adapter import HostedAdapter, initial
from server_app.split.lora import HostedTrunk
from server_app.split.round import Round
from server_app.split.settings import HostSettings
from server_app.split.snapshots import COMMITTED, WORKING, Snapshot, SnapshotStore

log = logging.getLogger("fellrec.split")


@dataclass
class Client:
    """One client. ``version`` counts what became of its committed adapter; ``last`` is the last committed round."""

    committed: HostedAdapter
    version: int = 0
    last: int = -1
    open: Round | None = None


class Clients:
    """All clients, restored from the snapshots."""

    def __init__(self, trunk: HostedTrunk, settings: HostSettings, snapshots: SnapshotStore) -> None:
        self._trunk, self._settings, self._snapshots = trunk, settings, snapshots
        self._clients: dict[str, Client] = {}
        for name, committed, working in snapshots.load():
            client = Client(self._restored(committed), committed.facts["version"], committed.facts["last"])
            self._clients[name] = client
            # a working copy of an older version outlived its commit by a crash
            if working is not None and working.facts["version"] == client.version:
                facts = working.facts
                client.open = Round(
                    facts["round"],
                    client.version,
                    self._restored(working),
                    facts["learning_rate"],
                    settings.limits.micro_batches,
                    step=facts["step"],
                    number=facts["stepped"],
                    durable=facts["step"],
                    stepped=facts["stepped"],
                )
                log.info("client %s: round %d goes on after step %d", name, client.open.round, client.open.step)

    def names(self) -> list[str]:
        """All clients."""
        return sorted(self._clients)

    def begin(self, name: str, number: int, learning_rate: float, adapter_seed: int, fresh_optimiser: bool) -> int:
        """Opens a round on the committed adapter (one drawn from ``adapter_seed`` for a new client); a round still open
        is rolled back. Returns the version that it begins with.
        """
        self.rollback(name)
        client = self._clients.get(name)
        if client is None:
            tensors = initial(self._trunk.shapes, self._settings.lora.rank, adapter_seed)
            client = Client(HostedAdapter(tensors, self._settings.optimiser, self._trunk.device))
            self._save_committed(name, client)
            self._clients[name] = client
        adapter = client.committed.fresh() if fresh_optimiser else client.committed.copy()
        opened = Round(number, client.version, adapter, learning_rate, self._settings.limits.micro_batches)
        self._snapshots.save(name, WORKING, _working(opened))
        client.open = opened
        return client.version

    def commit(self, name: str, number: int, steps: int | None = None) -> int:
        """Makes the working copy the committed adapter, durably; once more changes nothing. Returns the new version.

        Raises
        ------
        SplitError : the client has no such round open, its adapter is not finite, or it has not made ``steps`` steps.
        """
        client = self._known(name)
        if client.open is None and client.last == number:
            return client.version
        if client.open is None or client.open.round != number:
            raise SplitError(f"client {name!r} has no round {number!r} open", "begin it first")
        if steps is not None and client.open.step != steps:
            raise SplitError(
                f"client {name!r} made {steps!r} steps in round {number!r}, {client.open.step!r} are here",
                "some were lost with the service's process: roll the round back",
            )
        finite = all(torch.isfinite(tensor).all() for tensor in client.open.adapter.parameters.values())
        if client.open.spoilt or not finite:
            fault = "is not finite" if not finite else "was left half-way by a step that failed"
            raise SplitError(f"the hosted adapter of client {name!r} {fault}", "roll the round back")
        closed, client.open = client.open, None
        closed.forget()
        self._snapshots.settle(name, written=False)
        client.committed, client.version, client.last = closed.adapter, client.version + 1, number
        self._save_committed(name, client)
        self._snapshots.drop_working(name)
        log.info("client %s: round %d committed after %d steps", name, number, closed.step)
        return client.version

    def rollback(self, name: str, number: int | None = None) -> bool:
        """Forgets the open round without a trace; without one, or with another number, it changes nothing.

        Returns whether there was one.
        """
        client = self._clients.get(name)
        if client is None or client.open is None or number not in (None, client.open.round):
            return False
        closed, client.open = client.open, None
        closed.forget()
        self._snapshots.settle(name, written=False)
        self._snapshots.drop_working(name)
        log.info("client %s: round %d rolled back after %d steps", name, closed.round, closed.step)
        return True

    def adapter(self, name: str) -> dict[str, Tensor]:
        """The committed adapter."""
        return self._known(name).committed.tensors()

    def load_adapter(self, name: str, tensors: Mapping[str, Tensor]) -> int:
        """Replaces the committed adapter (of a new client too), durably; the optimiser stays. Returns the new version.

        Raises
        ------
        SplitError : a round is open, or the tensors do not fit; nothing is changed.
        """
        client = self._clients.get(name)
        if client is None:
            zeros = initial(self._trunk.shapes, self._settings.lora.rank, 0)
            client = Client(HostedAdapter(zeros, self._settings.optimiser, self._trunk.device))
        if client.open is not None:
            raise SplitError(f"client {name!r} has round {client.open.round!r} open", "commit it or roll it back first")
        client.committed.load(tensors)
        client.version += 1
        self._save_committed(name, client)
        self._clients[name] = client
        return client.version

    def round(self, name: str) -> Round:
        """The open round.

        Raises
        ------
        Refused : there is none.
        """
        client = self._clients.get(name)
        if client is None or client.open is None:
            raise Refused("no round is open for this client", "wait for the server to begin one", "FAILED_PRECONDITION")
        return client.open

    def standing(self, name: str) -> tuple[HostedAdapter, int, Round | None]:
        """What inference runs with: the working copy or else the committed adapter, its version, and the open round.

        Raises
        ------
        Refused : the client has no adapter yet.
        """
        client = self._clients.get(name)
        if client is None:
            raise Refused("this client has no adapter here yet", "begin a round or load one", "FAILED_PRECONDITION")
        return (client.open.adapter if client.open else client.committed), client.version, client.open

    def save_step(self, name: str, open_round: Round) -> None:
        """Sees to it that the last step gets on the disk; waits only where too many are not."""
        step = open_round.step

        def done() -> None:
            open_round.durable = max(open_round.durable, step)

        self._snapshots.save_soon(name, _working(open_round), done)
        if step - open_round.durable >= self._settings.unsaved_steps:
            self._snapshots.settle(name, written=True)

    def snapshot(self) -> None:
        """Returns once everything is on the disk."""
        for name in self._clients:
            self._snapshots.settle(name, written=True)

    def leave(self, session: Hashable) -> None:
        """A session has ended: if it trained, everything of its current step goes."""
        for client in self._clients.values():
            if client.open is not None and client.open.owner is session:
                client.open.owner = None
                client.open.forget()

    def _known(self, name: str) -> Client:
        if name not in self._clients:
            raise SplitError(f"client {name!r} is unknown to the split service", f"known: {', '.join(self.names())}")
        return self._clients[name]

    def _restored(self, snapshot: Snapshot) -> HostedAdapter:
        return HostedAdapter.restored(snapshot.tensors, self._settings.optimiser, self._trunk.device)

    def _save_committed(self, name: str, client: Client) -> None:
        facts = {"version": client.version, "last": client.last}
        self._snapshots.save(name, COMMITTED, Snapshot(client.committed.state(), facts))


def _working(open_round: Round) -> Snapshot:
    facts = {
        "round": open_round.round,
        "version": open_round.version,
        "learning_rate": open_round.learning_rate,
        "step": open_round.step,
        "stepped": open_round.stepped,
    }
    return Snapshot(open_round.adapter.state(), facts)
