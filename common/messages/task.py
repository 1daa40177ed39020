"""Server to node: let these clients train from, or measure, these tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from flwr.app import ConfigRecord, RecordDict

from common.errors import MessageError
from common.low_rank import Adapter
from common.messages.adapter import array_record
from common.messages.fields import LARGEST_COUNT, arrays, config_of, listed, names, numbers, text, whole

RECORDS = ("shared", "tables", "personal", "own")
"""Array records of a task; ``shared`` travels as ``arrays``."""

MOST_PACE = 1e6
"""A multiple of the learning rate beyond this is nonsense."""


@dataclass(frozen=True)
class HostedAccess:
    """Where a client finds the hosted layers in one round.

    Attributes
    ----------
    address : str
        ``host:port`` of the split service.
    tokens : Mapping[float, str]
        Token by the own share that the client may choose.
    """

    address: str
    tokens: Mapping[float, str]


@dataclass(frozen=True, eq=False)
class Task:
    """One message's work.

    Attributes
    ----------
    app, run : str
        Digest of the server's app, and name of the run.
    round : int
        Number of the round, from 1.
    clients : tuple of str
        Clients that are to work, all of one node.
    shared : Adapter
        Tensors that are one for all clients, by name.
    tables : Adapter
        Group tensors by name, [values, ...], with a row for each of ``codes`` of their attribute, in that order.
    codes : Mapping[str, Sequence[int]]
        Values that occur among the message's clients, by attribute.
    personal : Adapter
        Tensors of each client's own mix, [clients, ...].
    own : Adapter
        What each client itself sent last, [clients, ...]; empty where no client may step towards it. A client may move
        from ``personal`` towards it, as far as its validation data bear it out.
    paces : tuple of float
        Multiple of the run's learning rate for each client.
    contributed : tuple of int
        Round of each client's last contribution; 0 for none.
    access : Mapping[str, HostedAccess]
        Ways to the hosted layers by client; empty where clients run the whole model.
    """

    app: str
    run: str
    round: int
    clients: tuple[str, ...]
    shared: Adapter = field(default_factory=dict)
    tables: Adapter = field(default_factory=dict)
    codes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    personal: Adapter = field(default_factory=dict)
    own: Adapter = field(default_factory=dict)
    paces: tuple[float, ...] = ()
    contributed: tuple[int, ...] = ()
    access: Mapping[str, HostedAccess] = field(default_factory=dict)

    def to_record(self) -> RecordDict:
        config: dict[str, Any] = {"app": self.app, "run": self.run, "server-round": self.round}
        config |= {"clients": list(self.clients), "paces": list(self.paces), "contributed": list(self.contributed)}
        config |= {f"codes.{attribute}": list(codes) for attribute, codes in self.codes.items()}
        if self.access:
            first = self.access[self.clients[0]]
            config["split-address"], config["split-shares"] = first.address, list(first.tokens)
            config["split-tokens"] = [token for client in self.clients for token in self.access[client].tokens.values()]
        record = RecordDict({"arrays": array_record(self.shared), "config": ConfigRecord(config)})
        for name in RECORDS[1:]:
            if getattr(self, name):
                record[name] = array_record(getattr(self, name))
        return record

    @classmethod
    def from_record(cls, record: RecordDict) -> Self:
        """Reads a task.

        Raises
        ------
        MessageError : a field or record is missing, or has another length than there are clients.
        """
        config, clients = config_of(record), None
        clients = names(config)
        sent = {name: arrays(record, name) if name in record.array_records else {} for name in RECORDS[1:]}
        for kind in ("personal", "own"):
            for name, tensor in sent[kind].items():
                if not tensor.ndim or len(tensor) != len(clients):
                    raise MessageError(f"task's tensor {name!r} is {tuple(tensor.shape)!r} for {len(clients)} clients")
        return cls(
            app=text(config, "app"),
            run=text(config, "run"),
            round=whole(config, "server-round"),
            clients=clients,
            shared=arrays(record),
            codes={
                key.removeprefix("codes."): tuple(map(int, listed(config, key)))
                for key in config
                if key.startswith("codes.")
            },
            **sent,
            paces=numbers(config, "paces", len(clients), 0, MOST_PACE),
            contributed=tuple(map(int, numbers(config, "contributed", len(clients), 0, LARGEST_COUNT))),
            access=_access(config, clients) if "split-address" in config else {},
        )


def _access(config: ConfigRecord, clients: Sequence[str]) -> dict[str, HostedAccess]:
    shares, tokens = listed(config, "split-shares"), listed(config, "split-tokens")
    if not tokens or len(tokens) != len(shares) * len(clients):
        raise MessageError(
            f"fields 'split-shares' and 'split-tokens' have {len(shares)} and {len(tokens)} entries for"
            f" {len(clients)} clients"
        )
    address, each = text(config, "split-address"), len(shares)
    return {
        client: HostedAccess(address, dict(zip(shares, tokens[place * each : (place + 1) * each], strict=True)))
        for place, client in enumerate(clients)
    }
