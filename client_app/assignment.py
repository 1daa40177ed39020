"""What one client of a task starts from: its part of the message, with its private tensors in their place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from common.errors import MessageError
from common.low_rank import Adapter
from common.messages import HostedAccess, Task
from common.scopes import group_of


@dataclass(frozen=True, eq=False)
class Assignment:
    """One client's work in a round.

    Attributes
    ----------
    client : str
        Name of the client.
    round : int
        Number of the round.
    adapter : Adapter
        All trained tensors that the client runs itself, as the round starts with them.
    own : Adapter or None
        The same with what the client itself sent last, towards which it may step; None where it may not.
    pace : float
        Multiple of the run's learning rate.
    contributed : int
        Round of the client's last contribution; 0 for none.
    access : HostedAccess or None
        Ways to the hosted layers; None where the client runs the whole model.
    """

    client: str
    round: int
    adapter: Adapter
    own: Adapter | None = None
    pace: float = 1.0
    contributed: int = 0
    access: HostedAccess | None = None

    @classmethod
    def of(cls, task: Task, client: str, codes: Mapping[str, int], private: Adapter) -> Assignment:
        """A client's part of a task.

        Parameters
        ----------
        task : Task
            Message from the server.
        client : str
            One of its clients.
        codes : Mapping[str, int]
            Client's value of every grouping attribute.
        private : Adapter
            Tensors that the client keeps for itself.

        Raises
        ------
        MessageError : the task is not for this client, or lacks the row of one of its groups.
        """
        if client not in task.clients:
            raise MessageError(f"the task is not for client {client!r}", "server and node must agree")
        place = task.clients.index(client)
        tables = {name: table[group_row(task, name, codes)] for name, table in task.tables.items()}
        adapter = {
            **private,
            **task.shared,
            **tables,
            **{name: tensor[place] for name, tensor in task.personal.items()},
        }
        own = None
        if task.own:
            own = adapter | {name: tensor[place] for name, tensor in task.own.items()}
        return cls(
            client, task.round, adapter, own, task.paces[place], task.contributed[place], task.access.get(client)
        )


def group_row(task: Task, name: str, codes: Mapping[str, int]) -> int:
    """The row of a group tensor's table that a client belongs to.

    Raises
    ------
    MessageError : the table has no such row.
    """
    attribute = group_of(name) or ""
    rows = list(task.codes.get(attribute, ()))
    if codes.get(attribute) not in rows or len(rows) != len(task.tables[name]):
        raise MessageError(f"task's table {name!r} lacks the value of a client", "server and node must agree")
    return rows.index(codes[attribute])


def one_of_each(task: Task) -> Adapter:
    """A tensor of every name that the server sent, in one client's shape."""
    rows = {name: tensor[0] for name, tensor in (*task.tables.items(), *task.personal.items())}
    return {**task.shared, **rows}


def stacked(adapters: Sequence[Adapter], names: Sequence[str]) -> Adapter:
    """These tensors of several clients, [clients, ...]."""
    return {name: torch.stack([adapter[name] for adapter in adapters]) for name in names}
