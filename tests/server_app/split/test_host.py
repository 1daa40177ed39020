"""Rounds as transactions, restarts, TLS, health, metrics, draining, and that nothing stays behind."""

from __future__ import annotations

import logging
import queue
import threading
from pathlib import Path

import grpc
import pytest
import torch
from grpc_health.v1 import health_pb2, health_pb2_grpc
from torch import Tensor

from client_app.link import SplitLink
from client_app.trunk import RemoteTrunk
from common.cut import Cut
from common.errors import ConfigError, SplitError
from common.pb import split_pb2 as pb
from common.wire import METHOD
from server_app.split.host import SplitHost
from server_app.split.settings import AdamW, HostedLora, Limits, TlsFiles
from tests.authority import Authority
from tests.server_app.split.raw import ask, hello, hidden
from tests.server_app.split.tiny import host_for, link_settings

CUT = Cut(1, 1)
SETTINGS = link_settings("bert", CUT)


def train(host: SplitHost, address: str, client: str, steps: int = 2, seed: int = 0) -> None:
    with SplitLink(address, host.mint(client, 60), SETTINGS) as link:
        trunk = RemoteTrunk(link)
        for step in range(steps):
            x = torch.randn(2, 3, 32, generator=torch.Generator().manual_seed(100 * seed + step))
            trunk(x).sin().pow(2).sum().backward()
            link.step()


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_a_round_is_committed_or_leaves_no_trace(make_host) -> None:
    host, twin = make_host(), make_host(state="twin")
    address, twin_address = host.start(), twin.start()
    assert host.begin("ann", 1, 0.1, adapter_seed=1) == 0
    first = host.adapter("ann")
    train(host, address, "ann")
    assert same(host.adapter("ann"), first)
    assert host.commit("ann", 1) == 1
    committed = host.adapter("ann")
    assert not same(committed, first)

    host.begin("ann", 2, 0.1, adapter_seed=1)
    train(host, address, "ann", seed=2)
    host.rollback("ann", 2)
    assert same(host.adapter("ann"), committed)
    # the optimiser too is what it was: the next round goes on as in a run without the failed one
    for one, at in ((host, address), (twin, twin_address)):
        if one is twin:
            one.begin("ann", 1, 0.1, adapter_seed=1)
            train(one, at, "ann")
            one.commit("ann", 1)
        one.begin("ann", 3, 0.1, adapter_seed=1)
        train(one, at, "ann", seed=3)
        one.commit("ann", 3)
    assert same(host.adapter("ann"), twin.adapter("ann"))


def test_a_fresh_optimiser_forgets_earlier_rounds(make_host) -> None:
    host = make_host()
    address = host.start()
    results = []
    for client, fresh in (("ann", True), ("bob", False)):
        for number in (1, 2):
            host.begin(client, number, 0.1, adapter_seed=1, fresh_optimiser=fresh)
            train(host, address, client, seed=number)
            host.commit(client, number)
        results.append(host.adapter(client))
    assert not same(*results)


def test_committing_twice_changes_nothing_and_without_a_round_is_refused(make_host) -> None:
    host = make_host()
    address = host.start()
    host.begin("ann", 1, 0.1, adapter_seed=1)
    train(host, address, "ann")
    assert host.commit("ann", 1) == host.commit("ann", 1) == 1
    with pytest.raises(SplitError, match="2"):
        host.commit("ann", 2)
    with pytest.raises(SplitError, match="unknown"):
        host.commit("bob", 1)
    host.begin("ann", 2, 0.1, adapter_seed=1)
    host.rollback("ann", 1)
    host.commit("ann", 2)


def test_a_mixed_adapter_takes_the_committed_ones_place(make_host) -> None:
    host = make_host()
    host.begin("ann", 1, 0.1, adapter_seed=1)
    mixed = {name: tensor + 1 for name, tensor in host.adapter("ann").items()}
    with pytest.raises(SplitError, match="round 1 open"):
        host.load_adapter("ann", mixed)
    host.commit("ann", 1)
    assert host.load_adapter("ann", mixed) == 2
    host.load_adapter("bob", mixed)
    assert same(host.adapter("ann"), mixed) and same(host.adapter("bob"), mixed)
    assert host.clients() == ["ann", "bob"]
    with pytest.raises(SplitError, match="unknown"):
        host.load_adapter("cyd", {**mixed, "other": torch.zeros(1)})
    assert host.clients() == ["ann", "bob"]


def test_an_adapter_that_is_not_finite_is_not_committed(make_host) -> None:
    # without epsilon, AdamW divides 0 by 0 where there is no gradient yet
    host = make_host(optimiser=AdamW(epsilon=0.0))
    address = host.start()
    host.begin("ann", 1, 0.1, adapter_seed=1)
    before = host.adapter("ann")
    train(host, address, "ann", steps=1)
    with pytest.raises(SplitError, match="finite"):
        host.commit("ann", 1)
    host.rollback("ann", 1)
    assert same(host.adapter("ann"), before)


def test_a_step_that_fails_half_way_spoils_its_round_only(make_host) -> None:
    host = make_host()
    address = host.start()
    host.begin("ann", 1, 0.1, adapter_seed=1)
    before = host.adapter("ann")
    with SplitLink(address, host.mint("ann", 60), SETTINGS) as link:
        trunk = RemoteTrunk(link)
        trunk(hidden()).sum().backward()
        with pytest.raises(SplitError, match="INTERNAL"):
            # torch cannot convert this one
            link.step(1e38)
            link.flush()
        with pytest.raises(SplitError, match="half-way"):
            trunk(hidden())
    with pytest.raises(SplitError, match="half-way"):
        host.commit("ann", 1)
    host.begin("ann", 2, 0.1, adapter_seed=1)
    assert same(host.adapter("ann"), before)
    train(host, address, "ann")
    assert host.commit("ann", 2) == 1


@pytest.mark.parametrize("rate", [-1.0, float("nan"), float("inf")])
def test_a_learning_rate_is_a_number_from_0_up(make_host, rate: float) -> None:
    with pytest.raises(SplitError, match="learning_rate"):
        make_host().begin("ann", 1, rate, adapter_seed=1)


def test_a_restart_finds_everything_again(make_host) -> None:
    host = make_host()
    address = host.start()
    for client in ("ann", "bob", "cyd/../\n"):
        host.begin(client, 1, 0.1, adapter_seed=1)
        train(host, address, client, seed=len(client))
    host.commit("ann", 1)
    host.rollback("bob", 1)
    adapters = {client: host.adapter(client) for client in host.clients()}
    host.snapshot()
    host.stop(0)
    again = make_host()
    assert {client: again.adapter(client).keys() for client in again.clients()} == {
        client: adapter.keys() for client, adapter in adapters.items()
    }
    assert all(same(again.adapter(client), adapter) for client, adapter in adapters.items())
    # the open round goes on
    assert again.commit("cyd/../\n", 1) == 1
    with pytest.raises(SplitError, match="no round 1 open"):
        again.commit("bob", 1)


def test_a_state_folder_of_other_settings_is_refused(make_host) -> None:
    host = make_host()
    host.begin("ann", 1, 0.1, adapter_seed=1)
    host.stop(0)
    with pytest.raises(SplitError, match="'rank' = 8, the service has 4"):
        make_host(lora=HostedLora(("query", "value"), rank=4))


def test_a_damaged_snapshot_is_refused(make_host, tmp_path: Path) -> None:
    host = make_host()
    host.begin("ann", 1, 0.1, adapter_seed=1)
    host.stop(0)
    (damaged,) = (tmp_path / "state").glob("*/committed.safetensors")
    damaged.write_bytes(damaged.read_bytes()[:100])
    with pytest.raises(SplitError, match="cannot be read"):
        make_host()


def test_a_thousand_sessions_leave_nothing_behind(make_host) -> None:
    host = make_host(limits=Limits(sessions=150, sessions_per_client=150))
    address = host.start()
    host.begin("ann", 1, 0.1, adapter_seed=1)
    metadata = [("authorization", f"Bearer {host.mint('ann', 600)}")]
    sent = [hello(), *ask(pb.OP_FORWARD, [hidden()])]
    threads = threading.active_count()
    with grpc.insecure_channel(address) as channel:
        for _ in range(10):
            calls = []
            for _ in range(100):
                messages: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
                for message in sent:
                    messages.put(message)
                calls.append((messages, channel.stream_stream(METHOD)(iter(messages.get, None), metadata=metadata)))
            for messages, call in calls:
                next(call)
                call.cancel()
                messages.put(None)
            _wait_for(host, "fellrec_split_sessions", 0)
    _wait_for(host, "fellrec_split_held_bytes", 0)
    # the threads of the service's pool stay, those of the sessions do not
    assert sum(thread.name == "fellrec-split-session" for thread in threading.enumerate()) == 0
    assert threading.active_count() < threads + 200


def test_held_bytes_return_to_0_when_clients_vanish_in_mid_step(make_host) -> None:
    host = make_host()
    address = host.start()
    for index in range(20):
        host.begin(f"client {index}", 1, 0.1, adapter_seed=1)
        link = SplitLink(address, host.mint(f"client {index}", 60), SETTINGS)
        link.forward(hidden())
        assert host.held_bytes > 0
        link.close()
    _wait_for(host, "fellrec_split_held_bytes", 0)


def test_health_answers_always(make_host) -> None:
    host = make_host()
    address = host.start()
    with grpc.insecure_channel(address) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        for service in ("", "fellrec.split.v1.Split"):
            found = check(health_pb2.HealthCheckRequest(service=service), timeout=5)
            assert found.status == health_pb2.HealthCheckResponse.SERVING


def test_stopping_waits_for_sessions_and_takes_no_new_ones(make_host) -> None:
    host = make_host()
    address = host.start()
    host.begin("ann", 1, 0.1, adapter_seed=1)
    link = SplitLink(address, host.mint("ann", 60), SETTINGS)
    _, sent = link.forward(hidden())
    stopping = threading.Thread(target=host.stop, args=(5.0,))
    stopping.start()
    link.backward(sent, hidden())
    assert link.step() == 1
    link.close()
    stopping.join()
    late = SplitLink(address, "token", link_settings("bert", CUT, attempts=2, first_wait=0.01))
    with pytest.raises(SplitError, match="2 attempts"):
        late.connect()
    with pytest.raises(SplitError, match="stopped"):
        host.adapter("ann")


def test_metrics_count_what_happens(make_host) -> None:
    host = make_host()
    address = host.start()
    host.begin("ann", 1, 0.1, adapter_seed=1)
    train(host, address, "ann", steps=3)
    host.commit("ann", 1)
    values = {
        sample.name: sample.value for metric in host.metrics.collect() for sample in metric.samples if not sample.labels
    }
    assert values["fellrec_split_batch_clients_count"] == 9
    assert values["fellrec_split_received_bytes_total"] > 3 * 2 * hidden().nbytes
    assert values["fellrec_split_sent_bytes_total"] > 3 * hidden().nbytes
    assert values["fellrec_split_queue"] == 0


def test_nothing_of_an_activation_is_logged_or_stored(
    make_host, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    host = make_host()
    address = host.start()
    host.begin("ann", 1, 0.1, adapter_seed=1)
    canary = torch.full((1, 2, 32), 0.123456789)
    with SplitLink(address, host.mint("ann", 60), SETTINGS) as link:
        RemoteTrunk(link)(canary).sum().backward()
        link.step()
    host.commit("ann", 1)
    host.stop(0)
    needle = canary.numpy().tobytes()[:8]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files and not any(needle in path.read_bytes() for path in files)
    assert "0.1234" not in caplog.text


def test_tls_with_the_servers_certificate(folders, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    host = host_for(folders["bert"], "bert", CUT, tmp_path, TlsFiles(*authority.pair("service")))
    address = host.start()
    host.begin("ann", 1, 0.1, adapter_seed=1)
    root = authority.path.read_bytes()
    with SplitLink(address, host.mint("ann", 60), SETTINGS, root) as link:
        assert link.infer(hidden()).isfinite().all()
    plain = SplitLink(address, host.mint("ann", 60), link_settings("bert", CUT, attempts=2, first_wait=0.01))
    with pytest.raises(SplitError, match="2 attempts"):
        plain.connect()
    host.stop(0)


def test_plain_text_only_on_loopback(make_host) -> None:
    with pytest.raises(ConfigError, match="without TLS"):
        make_host(address="0.0.0.0")
    with pytest.raises(ConfigError, match="without TLS"):
        SplitLink("example.org:443", "token", SETTINGS)


def test_a_missing_certificate_and_a_taken_port_are_named(folders, tmp_path: Path, make_host) -> None:
    nowhere = TlsFiles(tmp_path / "no certificate", tmp_path / "no key")
    host = host_for(folders["bert"], "bert", CUT, tmp_path / "one", nowhere)
    with pytest.raises(ConfigError, match="'split.certificate' = .*no certificate"):
        host.start()
    host.stop(0)
    port = int(make_host().start().rpartition(":")[2])
    with pytest.raises(ConfigError, match=str(port)):
        make_host(state="two", port=port).start()


@pytest.mark.parametrize(
    "changes",
    [
        {"lora": HostedLora(())},
        {"lora": HostedLora(("nothing",))},
        {"lora": HostedLora(("query",), rank=0)},
        {"lora": HostedLora(("query",), alpha=float("nan"))},
        {"lora": HostedLora(("LayerNorm",))},
        {"codecs": ()},
        {"batch_clients": 0},
    ],
)
def test_settings_that_make_no_sense_are_refused(make_host, changes: dict) -> None:
    with pytest.raises(ConfigError):
        make_host(**changes)


def _wait_for(host: SplitHost, name: str, value: float) -> None:
    gate = threading.Event()
    for _ in range(1000):
        found = [sample.value for metric in host.metrics.collect() for sample in metric.samples if sample.name == name]
        if found == [value]:
            return
        gate.wait(0.0005)
    assert found == [value]
