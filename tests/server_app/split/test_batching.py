"""Several clients in one pass: each gets what it would get alone, touches nobody else, and fails alone."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from client_app.link import SplitLink
from client_app.trunk import RemoteTrunk
from common.cut import Cut
from common.errors import SplitError
from server_app.split.host import SplitHost
from server_app.split.settings import Limits
from tests.server_app.split.tiny import WIDTH, host_settings, link_settings

CUT = Cut(1, 1)
SHAPES = {"ann": (3, 7), "bob": (2, 11), "cyd": (4, 7)}
STEPS = 4
TOGETHER = 0.3


def hidden_of(client: str, step: int) -> tuple[Tensor, Tensor | None]:
    """Hidden states with padding on one side or the other, or none at all."""
    rows, width = SHAPES[client]
    generator = torch.Generator().manual_seed(1000 * step + rows)
    hidden = torch.randn(rows, width, WIDTH, generator=generator)
    if client == "cyd":
        return hidden, None
    mask = torch.ones(rows, width, dtype=torch.long)
    mask[0, -2:], mask[1, :3] = 0, 0
    return hidden, mask


def train(host: SplitHost, address: str, kind: str, client: str, barrier: threading.Barrier) -> list[Tensor]:
    """Every loss and every gradient of the input, over some steps in lockstep with the others."""
    seen = []
    settings = link_settings(kind, CUT)
    with SplitLink(address, host.mint(client, 60), settings) as link:
        trunk = RemoteTrunk(link)
        link.connect()
        for step in range(STEPS):
            hidden, mask = hidden_of(client, step)
            hidden.requires_grad_()
            weight = 1 if mask is None else mask.unsqueeze(-1)
            barrier.wait()
            loss = (trunk(hidden, mask).sin() * weight).pow(2).mean()
            barrier.wait()
            loss.backward()
            link.step()
            seen += [loss.detach(), hidden.grad]
    return seen


def run(host: SplitHost, kind: str, clients: list[str]) -> dict[str, list[Tensor]]:
    """Trains the clients at once and commits."""
    address = host.start()
    for seed, client in enumerate(SHAPES):
        host.begin(client, 1, 0.02, adapter_seed=seed)
    barrier = threading.Barrier(len(clients))
    with ThreadPoolExecutor(len(clients)) as threads:
        runs = {client: threads.submit(train, host, address, kind, client, barrier) for client in clients}
        seen = {client: run.result() for client, run in runs.items()}
    for client in SHAPES:
        host.commit(client, 1)
    return seen


def untrained(host: SplitHost) -> dict[str, dict[str, Tensor]]:
    """What each client's adapter begins with."""
    for seed, client in enumerate(SHAPES):
        host.begin(client, 1, 0.02, adapter_seed=seed)
    return {client: host.adapter(client) for client in SHAPES}


def update_error(found: dict[str, Tensor], wanted: dict[str, Tensor], begun: dict[str, Tensor]) -> float:
    """The norm of the difference between two adapters, relative to that of what training changed.

    Over the adapter as a whole: AdamW divides each element by the root of its own mean square, so where gradients are
    as small as their rounding, as some of a single tensor are, the steps are as large as elsewhere and differ by 1e-5
    and more. With an epsilon that outweighs the root the same adapters differ by 1e-7 or less.
    """
    assert found.keys() == wanted.keys() == begun.keys()
    off = torch.stack([(found[name] - wanted[name]).norm() for name in wanted]).norm()
    return float(off / torch.stack([(wanted[name] - begun[name]).norm() for name in wanted]).norm())


def batches(host: SplitHost) -> float:
    """Share of passes that served more than one client."""
    samples = {
        (sample.name, sample.labels.get("le")): sample.value
        for metric in host.metrics.collect()
        for sample in metric.samples
    }
    alone = samples["fellrec_split_batch_clients_bucket", "1.0"]
    return 1 - alone / samples["fellrec_split_batch_clients_count", None]


@pytest.mark.parametrize("rung", ["graph", "input"])
@pytest.mark.parametrize("kind", ["bert", "llama", "longformer"])
def test_a_mixed_batch_gives_what_each_client_gets_alone(make_host, kind: str, rung: str) -> None:
    limits = Limits(graph_bytes=0) if rung == "input" else Limits()
    if kind == "longformer":
        SHAPES.update({"ann": (3, 8), "bob": (2, 12), "cyd": (4, 8)})
    mixed = make_host(kind, CUT, "mixed", limits=limits, batch_seconds=TOGETHER)
    together = run(mixed, kind, list(SHAPES))
    assert batches(mixed) > 0.3
    rungs = {
        sample.labels["rung"]: sample.value
        for metric in mixed.metrics.collect()
        for sample in metric.samples
        if sample.name == "fellrec_split_backwards_total"
    }
    assert rungs.get(rung, 0) > STEPS
    alone = make_host(kind, CUT, "alone", limits=limits, batch_clients=1)
    begun = untrained(alone)
    expected = run(alone, kind, list(SHAPES))
    assert batches(alone) == 0
    for client, seen in together.items():
        for found, wanted in zip(seen, expected[client], strict=True):
            assert (found - wanted).norm() <= 1e-5 * wanted.norm()
        assert update_error(mixed.adapter(client), alone.adapter(client), begun[client]) <= 1e-5
    assert mixed.held_bytes == 0


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_an_absent_client_is_not_touched(make_host, kind: str) -> None:
    host = make_host(kind, batch_seconds=TOGETHER)
    host.begin("cyd", 0, 0.02, adapter_seed=2)
    host.commit("cyd", 0)
    before = host.adapter("cyd")
    run(host, kind, ["ann", "bob"])
    assert batches(host) > 0.3
    for name, tensor in host.adapter("cyd").items():
        assert torch.equal(tensor, before[name]), name


class Fragile(nn.Module):
    """Layers that fail on a batch with a huge value in it."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(WIDTH, WIDTH)

    def forward(self, hidden: Tensor, mask: Tensor | None, positions: Tensor | None) -> Tensor:
        if (hidden.abs() > 1e6).any():
            raise RuntimeError("a value is too large")
        return hidden + self.query(hidden)


def test_only_the_culprit_of_a_failed_batch_fails(tmp_path: Path) -> None:
    host = SplitHost(Fragile(), host_settings("bert", CUT, batch_seconds=TOGETHER), tmp_path)
    address = host.start()
    for client in ("ann", "bob", "cyd"):
        host.begin(client, 1, 0.1, adapter_seed=0)
    barrier = threading.Barrier(3)

    def ask(client: str) -> Tensor:
        with SplitLink(address, host.mint(client, 60), link_settings("bert", CUT)) as link:
            link.connect()
            barrier.wait()
            value = 1e7 if client == "bob" else 1.0
            output = RemoteTrunk(link)(torch.full((1, 3, WIDTH), value, requires_grad=True))
            output.sum().backward()
            link.step()
            return output.detach()

    with ThreadPoolExecutor(3) as threads:
        asked = {client: threads.submit(ask, client) for client in ("ann", "bob", "cyd")}
        with pytest.raises(SplitError, match="INTERNAL"):
            asked["bob"].result()
        assert torch.isfinite(asked["ann"].result()).all() and torch.isfinite(asked["cyd"].result()).all()
    assert batches(host) > 0
    host.stop(0)
    assert host.held_bytes == 0


def test_a_client_killed_in_mid_step_leaves_no_trace_and_changes_no_bit_of_another(make_host) -> None:
    undisturbed = run(make_host(state="quiet", batch_clients=1), "bert", ["ann"])["ann"]
    host = make_host(batch_clients=1)
    address = host.start()
    host.begin("bob", 0, 0.02, adapter_seed=1)
    host.commit("bob", 0)
    before = host.adapter("bob")
    for seed, client in enumerate(("ann", "bob")):
        host.begin(client, 1, 0.02, adapter_seed=seed)
    link = SplitLink(address, host.mint("bob", 60), link_settings("bert", CUT))
    trunk = RemoteTrunk(link)
    for _ in range(2):
        trunk(*hidden_of("bob", 0)).sum().backward()
        link.step()
    with ThreadPoolExecutor(1) as thread:
        other = thread.submit(train, host, address, "bert", "ann", threading.Barrier(1))
        trunk(*hidden_of("bob", 1)).sum().backward()
        trunk(*hidden_of("bob", 2))
        link.close()
        seen = other.result()
    host.rollback("bob", 1)
    host.commit("ann", 1)
    assert all(torch.equal(found, wanted) for found, wanted in zip(seen, undisturbed, strict=True))
    for name, tensor in host.adapter("bob").items():
        assert torch.equal(tensor, before[name]), name
    host.stop(0)
    assert host.held_bytes == 0
