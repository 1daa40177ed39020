from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from client_app.click_holding import SHORTEST, ClickHolding, simulated_clients
from common.config import from_flat
from common.data.click_folder import save_clicks
from common.data.split import Part
from common.errors import ConfigError, MessageError, ModelError
from common.recommenders.click.run import click_run
from tests.clicks import USERS, click_settings, tiny_log


def dealt(home: Path, nodes: int) -> list[ClickHolding]:
    config = from_flat(click_settings(home))
    base = click_run(config).base
    return [ClickHolding.load(config, {"partition-id": n, "num-partitions": nodes}, base) for n in range(nodes)]


def test_every_private_user_is_dealt_to_one_node(fellrec_home: Path) -> None:
    names = [name for holding in dealt(fellrec_home, 5) for name in holding.names]
    log, everyone = simulated_clients(from_flat(click_settings(fellrec_home)), str(fellrec_home))
    assert sorted(names) == sorted(everyone) and len(names) == len(set(names)) == USERS * 3 // 4
    assert not any(key in name for name in names for key in log.user_keys)


def test_batches_hold_each_clients_rows_once_and_nobody_elses(fellrec_home: Path) -> None:
    (holding,) = dealt(fellrec_home, 1)
    for part in Part:
        seen: list[int] = []
        for batch in holding.batches(part, item_ids=True):
            assert batch.mask.shape[1] >= SHORTEST
            for place, client in enumerate(batch.clients.tolist()):
                rows = np.flatnonzero((holding.log.users == client) & (holding.log.parts == part))
                mask = batch.mask[place]
                assert batch.clicks[place][mask].tolist() == holding.log.clicks[rows].tolist()
                assert (batch.items[place][mask][:, -1] - 1).tolist() == holding.log.items[rows].tolist()
                seen.append(client)
        assert sorted(seen) == [client for client, rows in enumerate(holding.rows(part).tolist()) if rows]


def test_some_of_the_clients_in_an_order_of_ones_own(fellrec_home: Path) -> None:
    (holding,) = dealt(fellrec_home, 1)
    part = holding.only(holding.names[3:0:-1])
    assert part.names == holding.names[3:0:-1]
    assert part.codes(["age"])[0] == holding.codes(["age"])[3]
    with pytest.raises(MessageError, match="does not host client 'x'"):
        holding.only(["x"])


def test_a_real_node_has_its_own_users_folder(fellrec_home: Path, tmp_path: Path) -> None:
    config, log = from_flat(click_settings(fellrec_home)), tiny_log()
    base = click_run(config).base
    _, everyone = simulated_clients(config, str(fellrec_home))
    private = sorted(everyone.values())
    opened = sorted(set(range(USERS)) - set(private))
    for name, users in (("one", private[:1]), ("two", private[:2]), ("open", opened[:1])):
        save_clicks(log.restrict(users, "mine"), tmp_path / name)
    one, two = (
        ClickHolding.load(config, {"client-key": "ann", "data-path": str(tmp_path / n)}, base) for n in ("one", "two")
    )
    assert one.names == ("ann",) and two.names == ("ann-0", "ann-1") and not one.simulated
    with pytest.raises(ModelError, match="one of the clients"):
        ClickHolding.load(config, {"client-key": "ann", "data-path": str(tmp_path / "open")}, base)
    for node in ({"client-key": "ann"}, {}):
        with pytest.raises(ConfigError, match="node configuration"):
            ClickHolding.load(config, node, base)
