"""The clients of a node where one user is one client: their rows, and batches of them padded to one length."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from client_app.node import node_home
from common.config import RunConfig, Value
from common.data.click_division import divide, vocabulary
from common.data.click_folder import load_clicks
from common.data.click_split import check_testable, split_clicks
from common.data.clicks import ClickLog
from common.data.prepare import ensure
from common.data.sets import check_name
from common.data.split import Part
from common.errors import ConfigError, MessageError, RunError
from common.home import data_home
from common.messages import ClientFacts, SetFacts
from common.recommenders.click.warm_start import ClickBase, item_codes, user_codes

MOST_ROWS = 2**15
"""Padded rows of a batch at most, which bounds its memory."""

SHORTEST = 16
"""Rows that a client is padded to at least."""

SPLIT = "60/20/20 by time per user"


@dataclass(frozen=True, eq=False)
class Batch:
    """Some clients' rows of one part; a client has the rows where ``mask`` is true.

    Attributes
    ----------
    clients : positions among the holding's, int64 [C].
    users, items : attribute codes, int64 [C, n, attributes].
    clicks, mask : [C, n], float and bool.
    """

    clients: Tensor
    users: Tensor
    items: Tensor
    clicks: Tensor
    mask: Tensor


@dataclass(frozen=True, eq=False)
class ClickHolding:
    """Clients by name, and the log with their rows alone: user u of the log is client u.

    Attributes
    ----------
    simulated : whether a run's clients were dealt to this node.
    """

    names: tuple[str, ...]
    log: ClickLog
    digest: str
    simulated: bool

    @classmethod
    def load(cls, config: RunConfig, node: Mapping[str, Value], base: ClickBase) -> ClickHolding:
        """All clients of this node.

        Raises
        ------
        ConfigError : the node's configuration names no client.
        DataError : the log is missing or damaged.
        ModelError : the warm start was made on another log or division, or from rows of a client.
        """
        key, path = node.get("client-key"), node.get("data-path")
        if (key is None) != (path is None):
            raise ConfigError(
                f"node configuration has 'client-key' = {key!r} and 'data-path' = {path!r}",
                "give both, or neither (simulation)",
            )
        if key is not None:
            return cls._own(str(key), load_clicks(Path(str(path)).expanduser()), base)
        index, count = node.get("partition-id"), node.get("num-partitions")
        if not isinstance(index, int) or not isinstance(count, int):
            raise ConfigError(
                "node configuration names no client",
                'start the SuperNode with --node-config \'client-key="user-a" data-path="/data"\'',
            )
        log, everyone = simulated_clients(config, node_home(config, node))
        base.check_division(log, config.click.open_share, config.click.division)
        base.check(log, (log.user_keys[user] for user in everyone.values()))
        here = {name: user for place, (name, user) in enumerate(everyone.items()) if place % count == index}
        part = log.restrict(list(here.values()), log.name)
        return cls(tuple(here), split_clicks(part), log.digest, True)

    @classmethod
    def of_client(cls, config: RunConfig, client: str, data: Path | None, base: ClickBase) -> ClickHolding:
        """One client alone, by its name in the run; '' takes the first of the simulated ones.

        ``data`` : the folder of the node that the client trained on; None takes the simulated client's rows.

        Raises
        ------
        RunError : there is no such client.
        DataError, ModelError : see :meth:`load`.
        """
        if data is None:
            whole = cls.load(config, {"partition-id": 0, "num-partitions": 1}, base)
        else:
            log = load_clicks(data.expanduser())
            whole = cls._own(client if len(log.user_keys) == 1 else client.rpartition("-")[0] or client, log, base)
        client = client or whole.names[0]
        if client not in whole.names:
            last = f" to {whole.names[-1]}" if len(whole.names) > 1 else ""
            raise RunError(
                f"there is no client {client!r} in {str(data) if data else config.data.sets!r}",
                f"it has {len(whole.names)}: {whole.names[0]}{last}",
            )
        return whole.only([client])

    @classmethod
    def _own(cls, key: str, log: ClickLog, base: ClickBase) -> ClickHolding:
        """The users of a real node's own log, named by the node's ``client-key``, with their numbers where they are several."""
        base.check(log, log.user_keys)
        alone = len(log.user_keys) == 1
        names = [check_name(key if alone else f"{key}-{user}") for user in range(len(log.user_keys))]
        return cls(tuple(names), split_clicks(log), log.digest, False)

    def facts(self, attributes: Sequence[str]) -> tuple[ClientFacts, ...]:
        """What each client tells of its data, with its value of each of these attributes."""
        log = self.log
        one = SetFacts(log.name, vocabulary(log), len(log.item_keys), log.generated, SPLIT)
        rows = {part: self.rows(part).tolist() for part in Part}
        each = zip(self.names, self.codes(attributes).tolist(), log.repeats().tolist(), strict=True)
        return tuple(
            ClientFacts(
                client=name,
                set=one,
                digest=self.digest,
                users=1,
                interactions=sum(rows[part][place] for part in Part),
                train_interactions=rows[Part.TRAIN][place],
                test_users=int(rows[Part.TEST][place] > 0),
                repeated=repeated,
                groups=tuple(codes),
            )
            for place, (name, codes, repeated) in enumerate(each)
        )

    def only(self, clients: Sequence[str]) -> ClickHolding:
        """The holding of these clients, in their order; raises MessageError for one who is not here."""
        places = {name: place for place, name in enumerate(self.names)}
        strange = [client for client in clients if client not in places]
        if strange:
            raise MessageError(f"this node does not host client {strange[0]!r}", f"it hosts {len(places)} others")
        part = self.log.restrict([places[client] for client in clients], self.log.name)
        return ClickHolding(tuple(clients), part, self.digest, self.simulated)

    def codes(self, attributes: Sequence[str]) -> Tensor:
        """The clients' values of these attributes, int64 [clients, attributes]."""
        own = self.log.user_attributes
        return torch.from_numpy(np.stack([own.of(name) for name in attributes], axis=1).astype(np.int64))

    def rows(self, part: Part) -> Tensor:
        """How many rows of a part each client has, int64 [clients]."""
        own = self.log.users[self.log.parts == part]
        return torch.from_numpy(np.bincount(own, minlength=len(self.names)))

    def batches(self, part: Part, item_ids: bool) -> Iterator[Batch]:
        """The clients with rows of a part, short ones first; a client's length never depends on who else is there."""
        counts = self.rows(part).numpy()
        lengths = np.maximum(SHORTEST, 2 ** np.ceil(np.log2(np.maximum(counts, 1))).astype(int))
        users, items = user_codes(self.log), item_codes(self.log, item_ids)
        rows = np.flatnonzero(self.log.parts == part)
        starts = np.concatenate([[0], np.cumsum(counts)])
        for length in np.unique(lengths[counts > 0]):
            same = np.flatnonzero((lengths == length) & (counts > 0))
            for chosen in np.array_split(same, -(-len(same) * int(length) // MOST_ROWS)):
                mask = np.arange(length) < counts[chosen, None]
                places = rows[np.where(mask, starts[chosen, None] + np.arange(length), starts[chosen, None])]
                yield Batch(
                    torch.from_numpy(chosen),
                    users[chosen][:, None].expand(-1, int(length), -1),
                    items[self.log.items[places]],
                    torch.from_numpy(self.log.clicks[places].astype(np.float32)),
                    torch.from_numpy(mask),
                )


def simulated_clients(config: RunConfig, home: str) -> tuple[ClickLog, dict[str, int]]:
    """The run's log, and its clients by name with their positions in it; open users are none.

    Raises DataError where the log is not prepared, has too few users, or nobody who can be tested.
    """
    log = load_clicks(ensure(config.data.sets.strip(), data_home(home)))
    check_testable(log)
    width = len(str(len(log.user_keys) - 1))
    users = divide(log, config.click.open_share, config.click.division).clients
    return log, {f"{log.name}-{user:0{width}d}": int(user) for user in users}
