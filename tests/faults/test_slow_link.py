"""A run over 1 Mbit/s and 200 ms, with TLS: it ends, and shows that it goes on. `benchmarks.slow_link` has the numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.wan import missing, slow_link
from fellrec.cli import app
from tests.faults.live import CLIENTS, Live

pytestmark = [pytest.mark.faults, pytest.mark.skipif(bool(missing()), reason=missing() or "-")]


@pytest.mark.parametrize("codec", ["int8"])
def test_a_run_ends_over_a_slow_link_and_shows_its_progress(tmp_path: Path, codec: str) -> None:
    with slow_link() as ends:
        made = ["provision", "--out", str(tmp_path / "federation"), "--server", ends.server_address]
        made += ["--nodes", ",".join(CLIENTS)]
        assert CliRunner().invoke(app, made, catch_exceptions=False).exit_code == 0
        here = Live(
            tmp_path,
            tmp_path / "home",
            address=ends.server_address,
            certificates=tmp_path / "federation",
            namespaces=dict.fromkeys(("superlink", "operator", *CLIENTS), ends.server) | {CLIENTS[0]: ends.client},
        )
        try:
            here.begin()
            tls = tmp_path / "federation" / "server" / "split"
            said = here.run(
                "slow",
                num_server_rounds=2,
                split__codec=codec,
                split__host=ends.server_address,
                split__certificate=str(tls / "tls.crt"),
                split__key=str(tls / "tls.key"),
                federation__timeout=400.0,
            )
        finally:
            here.end()
    found = here.outcome("slow").result()
    assert [record["clients_ok"] for record in found["rounds"]] == [3, 3]
    assert set(found["metrics"]["clients"]) == set(CLIENTS)
    for expected in ("round 1/2: 3 clients train", f"{CLIENTS[0]} answered", "s left", "result: "):
        assert expected in said, expected
    ended = next(event for event in here.events("slow") if event["event"] == "round_ended")
    waited = {client: told["seconds"]["split"] for client, told in ended["clients"].items()}
    # a step is two exchanges of hidden states, each of at least one way there and one back
    assert waited[CLIENTS[0]] > 2 * 0.2 and waited[CLIENTS[0]] > 2 * waited[CLIENTS[1]], waited
