"""A client's clock does not matter to fellrec: tokens are the server's, and it alone says when they end."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.apart import apart, serve
from tests.federation import federate, tiny_settings
from tests.test_federation import adapters, result


@pytest.mark.parametrize("clock", [-86_400.0, 86_400.0])
def test_clients_a_day_off_change_no_number(fellrec_home: Path, clock: float) -> None:
    settings = tiny_settings(fellrec_home, split__on=True, run_name="right", num_server_rounds=1)
    federate(settings)
    settings["run-name"] = "off"
    with apart(settings, clock=clock) as (grid, _):
        serve(settings, grid)
    assert result(fellrec_home, "right")["metrics"] == result(fellrec_home, "off")["metrics"]
    one, other = adapters(fellrec_home, "right"), adapters(fellrec_home, "off")
    assert all(one[client][name].equal(other[client][name]) for client in one for name in one[client])
