"""Which clients live on this node, and where their data lie.

On a real machine the node configuration names one client and its folder (``client-key``, ``data-path``). In simulation
the data sets of the run are dealt to clients, and the clients to however many nodes there are.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from common.config import RunConfig, Value
from common.data.partition import Sharding, shards
from common.data.prepare import ensure
from common.data.sets import check_name, parse_sets
from common.errors import ConfigError
from common.home import clients_home, data_home
from common.messages import POOL


def node_home(config: RunConfig, node: Mapping[str, Value]) -> str:
    """The node's home folder: its own setting goes before the run's."""
    return str(node.get("home", "")) or config.home


def clients_here(config: RunConfig, node: Mapping[str, Value]) -> dict[str, Path]:
    """The clients of this node, by name, with their data folders.

    Raises
    ------
    ConfigError : the node's configuration names only one of ``client-key`` and ``data-path``, or no partition.
    DataError : a data set is not prepared.
    """
    key, path = node.get("client-key"), node.get("data-path")
    if (key is None) != (path is None):
        raise ConfigError(
            f"node configuration has 'client-key' = {key!r} and 'data-path' = {path!r}",
            "give both, or neither (simulation)",
        )
    if key is not None:
        if key == POOL:
            raise ConfigError(
                f"node configuration has 'client-key' = {key!r}, which is reserved", "choose another name"
            )
        return {check_name(str(key)): Path(str(path)).expanduser()}
    index, count = node.get("partition-id"), node.get("num-partitions")
    if not isinstance(index, int) or not isinstance(count, int):
        raise ConfigError(
            "node configuration names no client",
            'start the SuperNode with --node-config \'client-key="shop-a" data-path="/data"\'',
        )
    everyone = all_clients(config, node_home(config, node))
    return {client: folder for place, (client, folder) in enumerate(everyone.items()) if place % count == index}


def all_clients(config: RunConfig, home: str) -> dict[str, Path]:
    """Every simulated client of the run with its data folder, in a fixed order.

    Raises
    ------
    ConfigError : a click model's run, whose clients are users of one log without a folder each.
    DataError : a data set is not prepared.
    """
    if config.model.recommender == "click":
        raise ConfigError(
            "'model.recommender' = 'click' tells clicks and ranks no catalogue", "see its result with `fellrec show`"
        )
    everyone: dict[str, Path] = {}
    default = 0 if config.data.partition == "user" else 5
    for name, clients in parse_sets(config.data.sets, default):
        spec = Sharding(
            how=config.data.partition,
            clients=clients,
            seed=config.seed,
            alpha=config.data.alpha,
            split=config.data.split,
            own_catalogue=config.data.own_catalogue,
        )
        everyone.update(shards(ensure(name, data_home(home)), spec, data_home(home)))
    return everyone


def memory_folder(config: RunConfig, node: Mapping[str, Value], run: str, client: str) -> Path:
    """Where a client remembers what is private between messages."""
    return clients_home(node_home(config, node)) / run / client
