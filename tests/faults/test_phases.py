"""Whatever dies, and whenever: the run goes on, at most one round is done again, and the numbers are the unbroken run's.

Real processes on loopback, killed by SIGKILL at a named point of a round, one round after the other; `make faults` (about
half an hour on two cores). FELLREC_FAULTS_TABLE may name a JSON file for the table of outcomes.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from common.errors import RunError
from common.run_folder import RunFolder
from tests.faults.live import CLIENTS, SMALL, Live, live
from tests.federation import federate, tiny_settings

pytestmark = pytest.mark.faults
PHASES = ("send", "train", "upload", "aggregate", "checkpoint")
FAULTS = tuple(enumerate(PHASES, 2))
"""The fault of each round from the second on."""
ROUNDS = len(FAULTS) + 1
BEHIND, AHEAD = -200.0, 3.0
"""Seconds that two clients' clocks are off; Flower itself refuses a node whose clock is 5 s ahead or 305 s behind."""


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """One client's clock is slow, another's is fast."""
    folder = tmp_path_factory.mktemp("live")
    with live(folder, folder / "home", {"toy-1": BEHIND, "toy-2": AHEAD}) as found:
        yield found


@pytest.fixture(scope="module")
def table() -> Iterator[list[dict]]:
    rows: list[dict] = []
    yield rows
    if path := os.environ.get("FELLREC_FAULTS_TABLE"):
        Path(path).write_text(json.dumps(rows, indent=1) + "\n")


def undisturbed(here: Live, rounds: int) -> RunFolder:
    """The same run in one process, where nothing dies; made once."""
    name = f"in-process-{rounds}"
    try:
        return here.outcome(name)
    except RunError:
        settings = tiny_settings(here.home, **SMALL | {"num_server_rounds": rounds, "run_name": name})
        federate({**settings, "federation.min-clients": 1}, nodes=3)
    return here.outcome(name)


def same(one: RunFolder, other: RunFolder) -> bool:
    """Whether two runs came to the same numbers, to the last bit."""
    first, second = one.result(), other.result()
    if first["metrics"] != second["metrics"]:
        return False
    if [r["loss"] for r in first["rounds"]] != [r["loss"] for r in second["rounds"]]:
        return False
    for client in CLIENTS:
        mine, theirs = one.load_adapter(client), other.load_adapter(client)
        if mine.keys() != theirs.keys() or not all(torch.equal(mine[name], theirs[name]) for name in mine):
            return False
    return True


def rows(here: Live, name: str, target: str, seconds: float) -> list[dict]:
    """What became of each fault of a run, from its event log."""
    events, record = here.events(name), here.outcome(name).result()["rounds"]
    begun = Counter(event["round"] for event in events if event["event"] == "round_started")
    return [
        {
            "target": target,
            "phase": phase,
            "round": number,
            "rounds_done_again": begun[number] - 1,
            "clients_ok": record[number - 1]["clients_ok"],
            "run_seconds": round(seconds, 1),
        }
        for number, phase in FAULTS
    ]


def submitted(here: Live, name: str) -> int:
    return sum(event["event"] == "run_started" for event in here.events(name))


def test_an_unbroken_run_has_the_numbers_of_one_in_process_whatever_clients_clocks_say(here: Live) -> None:
    here.run("unbroken", keep_going=0, num_server_rounds=2)
    assert same(here.outcome("unbroken"), undisturbed(here, 2))


def test_a_split_service_that_dies_alone_costs_nothing(here: Live, table: list[dict]) -> None:
    began = time.monotonic()
    for number, phase in FAULTS:
        here.inject(target="split", phase=phase, round=number)
    said = here.run("split", num_server_rounds=ROUNDS)
    assert not here.to_come and submitted(here, "split") == 1
    found = rows(here, "split", "split service", time.monotonic() - began)
    table += found
    assert all(row["rounds_done_again"] == 0 and row["clients_ok"] == 3 for row in found), found
    assert said.count("it serves again on") == len(FAULTS)
    assert same(here.outcome("split"), undisturbed(here, ROUNDS))


def test_a_server_that_dies_is_taken_up_after_its_last_whole_round(here: Live, table: list[dict]) -> None:
    began = time.monotonic()
    for number, phase in FAULTS:
        here.inject(target="server", phase=phase, round=number)
    here.run("server", keep_going=len(FAULTS), seconds=1800.0, num_server_rounds=ROUNDS)
    assert not here.to_come and submitted(here, "server") == len(FAULTS) + 1
    found = rows(here, "server", "server", time.monotonic() - began)
    table += found
    assert all(row["rounds_done_again"] <= 1 and row["clients_ok"] == 3 for row in found), found
    assert same(here.outcome("server"), undisturbed(here, ROUNDS))


def test_a_client_that_dies_costs_itself_one_round(here: Live, table: list[dict]) -> None:
    """Its process where it has one; between rounds its SuperNode, which an init system starts again."""
    began, last = time.monotonic(), 9
    for (number, phase), client in zip(FAULTS, ("toy-0", "toy-1", "toy-2"), strict=False):
        here.inject(target="client", phase=phase, round=number, client=client)
    for number, phase, client in ((5, "aggregate", "toy-0"), (7, "checkpoint", "toy-1")):
        here.inject(target="node", phase=phase, round=number, client=client, pid=here.pid(client))
    with here.restarting("toy-0"), here.restarting("toy-1"):
        here.run("client", keep_going=0, seconds=1800.0, num_server_rounds=last)
    assert not here.to_come and submitted(here, "client") == 1
    found = here.outcome("client").result()
    lost = {(record["round"], client) for record in found["rounds"] for client in record["clients_failed"]}
    table.append(
        {
            "target": "client",
            "lost": sorted(lost),
            "run_seconds": round(time.monotonic() - began, 1),
            "clients_ok": [record["clients_ok"] for record in found["rounds"]],
        }
    )
    assert lost <= {(2, "toy-0"), (3, "toy-1"), (4, "toy-2"), (6, "toy-0"), (8, "toy-1")}, lost
    assert found["rounds"][-1]["clients_ok"] == 3 and set(found["metrics"]["clients"]) == set(CLIENTS)
