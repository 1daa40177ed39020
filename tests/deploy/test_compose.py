"""The compose file in a real engine: who reaches what, runs over three SuperNodes with TLS and the split on real data, faults.

Needs root, docker, MovieLens latest-small (see ``tests.real_data``) and half an hour on two idle cores: ``make compose-test``.
FELLREC_COMPOSE_ENGINE may name a file of shell settings for the engine, FELLREC_IMAGE an image that is there, FELLREC_WHEELS a
folder of wheels for the build.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from server_app.split.handshakes import ADVICE
from tests.deploy.engine import NODES, PROJECT, RAW, Federation, federation
from tests.real_data import real_data

pytestmark = pytest.mark.compose
REACH = "import socket; socket.create_connection(('{}', {}), 3)"
PAUSE = 20.0
LOSING = {"num-server-rounds": "4", "federation.stragglers": "1.5"}
"""A run in which a client may be lost: longer, so that it comes back, and less patient."""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with federation(tmp_path_factory.mktemp("compose"), real_data(RAW)) as found:
        yield found


KNOCK = """
import contextlib, socket, ssl
calm = lambda: contextlib.suppress(OSError)
with socket.create_connection(("serverapp", 50051), 20) as plain, calm():
    plain.sendall(b"PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n")
    plain.recv(64)
context = ssl.create_default_context(cafile="/node/ca.crt")
context.set_alpn_protocols(["h2"])
with socket.create_connection(("serverapp", 50051), 20) as raw, calm():
    context.wrap_socket(raw, server_hostname="serverapp").recv(1)
"""
"""A stranger on a node's network: plain text, then TLS without a certificate, at the door of the split service."""


@dataclass(frozen=True)
class Ended:
    """A run that nothing disturbs: its result, and its log."""

    result: dict
    log: str


@pytest.fixture(scope="module")
def first(up: Federation) -> Ended:
    """A run at whose split service strangers knock in vain."""
    number = up.start(up.recipe("unbroken"))
    up.wait_for_training("unbroken", 1)
    for _ in range(3):
        up.compose("exec", "-T", "clientapp-a", "python3", "-c", KNOCK)
    up.wait("unbroken", "run_ended")
    return Ended(up.result("unbroken"), up.log(number))


@pytest.fixture(scope="module")
def unbroken(first: Ended) -> dict:
    """The result of that run."""
    return first.result


def reaches(up: Federation, service: str, host: str, port: int) -> bool:
    done = up.compose("exec", "-T", service, "python3", "-c", REACH.format(host, port), ok=False)
    assert done.returncode == 0 or "Traceback" in done.stdout, done.stdout
    return done.returncode == 0


def test_services_have_no_rights_and_write_only_to_their_volumes(up: Federation) -> None:
    for service in ("superlink", "serverapp", "gateway", "supernode-a", "clientapp-a"):
        assert up.compose("exec", "-T", service, "id", "-u").stdout.strip() == "10001"
        for path in ("/opt/venv/x", "/x", "/etc/x"):
            assert up.compose("exec", "-T", service, "touch", path, ok=False).returncode != 0
        status = up.compose("exec", "-T", service, "cat", "/proc/1/status").stdout
        assert "CapEff:\t0000000000000000" in status and "NoNewPrivs:\t1" in status


def test_what_runs_the_app_has_no_identity_and_what_has_the_identity_no_data(up: Federation) -> None:
    assert up.compose("exec", "-T", "clientapp-a", "ls", "/node").stdout.split() == ["ca.crt", "split.crt", "split.key"]
    assert up.compose("exec", "-T", "supernode-a", "ls", "/data", ok=False).returncode != 0
    assert up.compose("exec", "-T", "clientapp-a", "ls", "/data/dataset.json", ok=False).returncode == 0


def test_a_node_reaches_the_gateway_and_neither_superlink_nor_other_nodes(up: Federation) -> None:
    for service in ("supernode-a", "clientapp-a"):
        assert reaches(up, service, "gateway", 8443)
        for host, port in (("superlink", 8443), ("supernode-b", 9094), ("1.1.1.1", 443)):
            assert not reaches(up, service, host, port), (service, host)
    ask = "import httpx, ssl; print(httpx.post('https://gateway:8443/v1/control/list-runs', content=b'', verify=ssl."
    ask += "create_default_context(cafile='/node/ca.crt')).status_code)"
    assert up.compose("exec", "-T", "clientapp-a", "python3", "-c", ask).stdout.strip() == "404"
    assert "nodes may use /v1/fleet/" in up.logs("gateway")


def test_every_node_passes_its_preflight(up: Federation) -> None:
    for letter, name in zip("abc", NODES, strict=True):
        mounts = [f"{up.folder}/federation/nodes/{name}:/node:ro", f"{up.folder}/data/{name}:/data:ro"]
        words = [word for mount in mounts for word in ("-v", mount)]
        network = f"{PROJECT}_node-{letter}"
        done = up.docker(
            "run", "--rm", "--network", network, *words, up.image, "fellrec", "preflight", "--env", "/node/node.env"
        )
        assert "fail" not in done.stdout and done.stdout.count("ok") >= 8, done.stdout


def test_a_node_whose_key_is_not_registered_is_refused(up: Federation) -> None:
    up.provision("--add", "--nodes", "stranger")
    mount = f"{up.folder}/federation/nodes/stranger:/node:ro"
    words = [
        "run",
        "--rm",
        "--network",
        f"{PROJECT}_node-a",
        "-v",
        mount,
        up.image,
        "timeout",
        "300",
        "/node/start.sh",
    ]
    done = up.docker(*words, ok=False)
    assert done.returncode not in (0, 124) and "Failed to activate SuperNode" in done.stdout, done.stdout


@pytest.mark.parametrize("reason", ["WRONG_VERSION_NUMBER", "PEER_DID_NOT_RETURN_A_CERTIFICATE"])
def test_a_stranger_at_the_split_service_is_logged_once_with_what_to_do(first: Ended, reason: str) -> None:
    said = f"refused a caller at the TLS handshake: {reason} ({ADVICE[reason]})"
    assert first.log.count(said) == 1, first.log[-3000:]


def test_the_numbers_are_those_of_the_simulation(up: Federation, unbroken: dict) -> None:
    path = up.recipe(
        "simulated",
        **{
            "split.host": "127.0.0.1",
            "split.advertise": "",
            "split.certificate": "",
            "split.key": "",
            "split.client-ca": "",
            "split.port": "0",
        },
    )
    simulated = up.simulate("simulated", path)
    assert unbroken["run"]["mode"] == "deployment" and simulated["run"]["mode"] == "simulation"
    assert unbroken["metrics"] == simulated["metrics"]
    assert [r["loss"] for r in unbroken["rounds"]] == [r["loss"] for r in simulated["rounds"]]


def test_a_restarted_superlink_costs_no_round(up: Federation, unbroken: dict) -> None:
    up.start(up.recipe("restarted"))
    up.wait("restarted", "round_started", 2)
    up.compose("kill", "superlink")
    up.compose("up", "-d", "--wait", "superlink")
    up.wait("restarted", "run_ended")
    assert up.result("restarted")["metrics"] == unbroken["metrics"]


def test_a_killed_serverapp_is_taken_up_after_its_last_whole_round(up: Federation, unbroken: dict) -> None:
    up.start(up.recipe("resumed"))
    up.wait("resumed", "round_started", 2)
    up.compose("kill", "serverapp")
    up.compose("up", "-d", "--wait", "serverapp")
    up.start(up.recipe("resumed", resume="true"))
    up.wait("resumed", "run_ended")
    assert up.result("resumed")["metrics"] == unbroken["metrics"]


def test_a_pause_of_the_split_in_training_costs_no_round(up: Federation, unbroken: dict) -> None:
    up.start(up.recipe("paused"))
    up.wait_for_training("paused", 2)
    up.compose("pause", "serverapp")
    began = time.time()
    time.sleep(PAUSE)
    up.compose("unpause", "serverapp")
    ended = time.time()
    up.wait("paused", "run_ended")
    replies = [event["time"] for event in up.events("paused") if event["event"] == "replied" and event["round"] == 2]
    # those after them are of the final measurement
    answered = replies[: len(NODES)]
    assert any(moment > began for moment in answered)
    assert not [moment for moment in answered if began < moment < ended - 1]
    assert up.result("paused")["metrics"] == unbroken["metrics"]


def test_a_killed_supernode_costs_its_round_and_comes_back(up: Federation) -> None:
    # rounds enough for any machine: the run is stopped once the node is back
    number = up.start(up.recipe("killed", **LOSING | {"num-server-rounds": "60"}))
    up.wait("killed", "round_started", 2)
    up.compose("kill", "supernode-b", "clientapp-b")
    # at once, so that the SuperLink refuses it; --wait fails where the node does not stay and try again
    up.compose("up", "-d", "--wait", "supernode-b", "clientapp-b")
    begun = sum(event["event"] == "round_started" for event in up.events("killed"))
    # one round may have begun without it
    up.wait("killed", "round_ended", begun + 2)
    up.flwr("flwr", "stop", number, "fellrec")
    rounds = [event for event in up.events("killed") if event["event"] == "round_ended"]
    assert [found["clients_ok"] for found in rounds[:2]] == [3, 2] and rounds[begun + 1]["clients_ok"] == 3
    assert set(rounds[1]["clients_failed"]) == {NODES[1]}
    assert up.logs("supernode-b").count("fellrec: the SuperLink refuses this node") <= 1


def test_a_node_cut_off_costs_its_round_and_comes_back(up: Federation) -> None:
    up.start(up.recipe("cut", **LOSING))
    up.wait_for_training("cut", 2)
    up.cut("b")
    up.wait("cut", "round_started", 3)
    up.mend("b")
    up.wait("cut", "run_ended")
    lost_round_2_and_came_back(up.result("cut"))


def lost_round_2_and_came_back(result: dict) -> None:
    rounds = result["rounds"]
    assert [found["clients_ok"] for found in rounds[:2]] == [3, 2] and rounds[-1]["clients_ok"] == 3
    assert set(rounds[1]["clients_failed"]) == {NODES[1]}
