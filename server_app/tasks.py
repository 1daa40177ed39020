"""Messages to nodes: which clients share one, what each of them carries, and what it weighs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from flwr.app import Message, MessageType

from common.config import RunConfig
from common.errors import RunError
from common.low_rank import Adapter
from common.messages import HostedAccess, Task, message_bytes
from common.own_share import SHARES
from common.version import app_identity
from server_app.hosting import Hosting
from server_app.members import Member
from server_app.state import ServerState


@dataclass(frozen=True, eq=False)
class Sent:
    """One message.

    Attributes
    ----------
    clients : tuple of str
        Clients that it is for.
    message : Message
        The message itself.
    bytes : int
        Bytes of its content.
    """

    clients: tuple[str, ...]
    message: Message
    bytes: int


class Tasks:
    """Makes the messages of a round.

    Parameters
    ----------
    config : RunConfig
        Configuration of the run.
    run : str
        Name of the run, by which clients key what they remember.
    state : ServerState
        Tensors on the server.
    hosting : Hosting or None
        Middle layers, where the server hosts them: a client gets its own part of the tensors, and access to the rest.
    """

    def __init__(self, config: RunConfig, run: str, state: ServerState, hosting: Hosting | None = None) -> None:
        self._config, self._run, self._state, self._hosting = config, run, state, hosting

    def train(
        self, number: int, members: Mapping[str, Member], paces: Mapping[str, float], seconds: float
    ) -> list[Sent]:
        """A round's messages; each client starts from its own mix.

        Parameters
        ----------
        number : int
            Number of the round.
        members : Mapping[str, Member]
            Clients that train, all of them present.
        paces : Mapping[str, float]
            Multiple of the run's learning rate for each.
        seconds : float
            How long hosted layers stay open.
        """

        def opened(hosting: Hosting, client: str, steps: Mapping[float, Adapter]) -> HostedAccess:
            return hosting.open(client, number, self._config.train.learning_rate * paces[client], steps, seconds)

        starts = {client: (member.personal, self._state.own(member)) for client, member in members.items()}
        make = _Making(number, MessageType.TRAIN, starts, self._state.shared, self._state.rows_for, paces, opened)
        return [self._sent(make, clients, members) for clients in self._shares(members)]

    def evaluate(self, number: int, members: Mapping[str, Member], seconds: float) -> list[Sent]:
        """Messages with the result, the average over the last rounds."""

        def shown(hosting: Hosting, client: str, steps: Mapping[float, Adapter]) -> HostedAccess:
            return hosting.show(client, steps, seconds)

        starts = {client: self._state.result(client, member) for client, member in members.items()}
        shared, _ = self._state.common_result()
        paces = dict.fromkeys(members, 1.0)
        make = _Making(number, MessageType.EVALUATE, starts, shared, self._state.result_rows, paces, shown)
        return [self._sent(make, clients, members) for clients in self._shares(members)]

    def alone(self, number: int, client: str, member: Member) -> int:
        """Bytes that a client gets which has a message for itself, without access to hosted layers."""
        starts = {client: (member.personal, self._state.own(member))}
        make = _Making(number, MessageType.TRAIN, starts, self._state.shared, self._state.rows_for, {client: 1.0})
        return message_bytes(self._task(make, [client], {client: member}).to_record())

    def _sent(self, make: _Making, clients: Sequence[str], members: Mapping[str, Member]) -> Sent:
        node = members[clients[0]].node
        if node is None:
            raise RunError(f"client {clients[0]!r} is away, and no message reaches it", "start its node again")
        record = self._task(make, clients, members).to_record()
        # a message lives no longer than its round
        seconds = self._config.federation.timeout
        message = Message(record, node, make.kind, ttl=seconds, group_id=str(make.number))
        return Sent(tuple(clients), message, message_bytes(record))

    def _task(self, make: _Making, clients: Sequence[str], members: Mapping[str, Member]) -> Task:
        starts = [make.starts[client] for client in clients]
        if any(own is not None for _, own in starts):
            # all of a message are offered the same steps; who has sent nothing yet stays where it is
            starts = [(mixed, mixed if own is None else own) for mixed, own in starts]
        access: dict[str, HostedAccess] = {}
        if self._hosting is not None and make.opened is not None:
            for client, (mixed, own) in zip(clients, starts, strict=True):
                shares = (0.0,) if own is None else (0.0, *SHARES)
                steps = {share: make.shared | self._state.step_towards_own(mixed, own, share) for share in shares}
                access[client] = make.opened(self._hosting, client, steps)
        chosen = [members[client] for client in clients]
        tables, codes = make.rows_for(chosen)
        return Task(
            app=app_identity(),
            run=self._run,
            round=make.number,
            clients=tuple(clients),
            shared=self._clients_part(make.shared),
            tables=tables,
            codes=codes,
            personal=_stacked([self._clients_part(mixed) for mixed, _ in starts]),
            own=_stacked([self._clients_part(own) for _, own in starts if own is not None]),
            paces=tuple(make.paces[client] for client in clients),
            contributed=tuple(0 if member.last is None else member.last.round for member in chosen),
            access=access,
        )

    def _shares(self, members: Mapping[str, Member]) -> Iterator[list[str]]:
        """The clients that share a message: of one node, as many as the configuration says."""
        most = self._config.federation.clients_per_message or (0 if self._state.model.people else 1)
        nodes: dict[int | None, list[str]] = {}
        for client, member in members.items():
            nodes.setdefault(member.node, []).append(client)
        for clients in nodes.values():
            step = most or len(clients)
            for first in range(0, len(clients), step):
                yield clients[first : first + step]

    def _clients_part(self, adapter: Adapter) -> Adapter:
        return adapter if self._hosting is None else self._hosting.rest(adapter)


@dataclass(frozen=True, eq=False)
class _Making:
    """What the messages of one round have in common."""

    number: int
    kind: str
    starts: Mapping[str, tuple[Adapter, Adapter | None]]
    shared: Adapter
    rows_for: Callable[[Sequence[Member]], tuple[Adapter, dict[str, list[int]]]]
    paces: Mapping[str, float]
    opened: Callable[[Hosting, str, Mapping[float, Adapter]], HostedAccess] | None = None


def _stacked(adapters: Sequence[Adapter]) -> Adapter:
    if not adapters:
        return {}
    if len(adapters) == 1:
        return {name: tensor[None] for name, tensor in adapters[0].items()}
    return {name: torch.stack([adapter[name] for adapter in adapters]) for name in adapters[0]}
