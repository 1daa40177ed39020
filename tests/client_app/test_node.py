"""client_app/node.py: who lives here."""

from __future__ import annotations

from pathlib import Path

import pytest

from client_app.node import all_clients, clients_here, memory_folder, node_home
from common.config import from_flat
from common.errors import ConfigError, DataError
from tests.federation import tiny_settings


def test_a_real_node_names_one_client_and_its_folder(tmp_path: Path) -> None:
    assert clients_here(from_flat({}), {"client-key": "shop-a", "data-path": str(tmp_path)}) == {"shop-a": tmp_path}


@pytest.mark.parametrize("node", [{"client-key": "a"}, {"data-path": "/x"}, {}, {"partition-id": 0}])
def test_a_node_that_names_half_of_it_is_told_what_is_missing(node: dict) -> None:
    with pytest.raises(ConfigError, match="client-key|names no client"):
        clients_here(from_flat({}), node)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_every_client_lives_on_exactly_one_node(fellrec_home: Path, count: int) -> None:
    config = from_flat(tiny_settings(fellrec_home))
    dealt = [clients_here(config, {"partition-id": index, "num-partitions": count}) for index in range(count)]
    assert sorted(client for node in dealt for client in node) == sorted(all_clients(config, str(fellrec_home)))


def test_a_data_set_that_is_not_prepared_is_named_with_the_command(fellrec_home: Path) -> None:
    config = from_flat(tiny_settings(fellrec_home, data__sets="films:2"))
    with pytest.raises(DataError, match="fellrec data prepare films"):
        all_clients(config, str(fellrec_home))


def test_the_nodes_own_home_goes_before_the_runs(tmp_path: Path) -> None:
    config = from_flat({"home": "/of-the-run"})
    assert node_home(config, {"home": "/of-the-node"}) == "/of-the-node" and node_home(config, {}) == "/of-the-run"
    assert memory_folder(config, {"home": str(tmp_path)}, "run", "c") == tmp_path / "clients" / "run" / "c"
