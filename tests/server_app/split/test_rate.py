"""The bucket by a clock of the test's own; then a service that keeps a client waiting and serves another."""

from __future__ import annotations

import time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from client_app.link import SplitLink
from client_app.trunk import RemoteTrunk
from common.cut import Cut
from common.errors import ConfigError
from common.wire import Refused
from server_app.split.rate import Rate
from server_app.split.settings import Limits
from tests.server_app.split.raw import Raw, ask, hello, hidden, pb
from tests.server_app.split.tiny import link_settings


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_passes_and_what_follows_waits_for_its_cells() -> None:
    clock = Clock()
    rate = Rate(10, 50, clock)
    assert rate.take("ann", 30, 0) == rate.take("ann", 20, 0) == 0
    assert rate.take("ann", 20, 60) == 2.0
    assert rate.take("ann", 10, 60) == 3.0
    clock.now += 3
    assert rate.take("ann", 5, 60) == 0.5
    clock.now += 100
    assert rate.take("ann", 50, 0) == 0
    with pytest.raises(Refused, match="10 tokens per second") as caught:
        rate.take("ann", 1, 0)
    assert caught.value.status == "RESOURCE_EXHAUSTED"


def test_a_refusal_takes_nothing_and_each_client_has_a_bucket_of_its_own() -> None:
    clock = Clock()
    rate = Rate(10, 50, clock)
    assert rate.take("ann", 50, 0) == 0
    for _ in range(100):
        with pytest.raises(Refused):
            rate.take("ann", 20, 1.9)
    assert rate.take("ann", 20, 2.0) == 2.0
    assert rate.take("bob", 50, 0) == 0


def test_the_largest_request_always_passes_and_0_sets_no_limit() -> None:
    assert Rate(0.001, 1 << 16, Clock()).take("ann", 1 << 16, 0) == 0
    free = Rate(0, 1, Clock())
    assert all(free.take("ann", 1 << 30, 0) == 0 for _ in range(10))


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(1, 40)), min_size=1, max_size=60))
def test_never_more_than_the_burst_and_what_flowed_in(asked: list[tuple[float, int]]) -> None:
    clock = Clock()
    rate, begun, served = Rate(8, 40, clock), clock.now, []
    for pause, cells in asked:
        clock.now += pause
        try:
            served.append((clock.now + rate.take("ann", cells, 3.0), cells))
        except Refused:
            pass
    total = 0
    for at, cells in served:
        total += cells
        assert total <= 40 + 8 * (at - begun) + 1e-6


@pytest.mark.parametrize("rate", [-1.0, float("nan"), float("inf")])
def test_a_rate_is_a_number_from_0_up(make_host, rate: float) -> None:
    with pytest.raises(ConfigError, match="tokens_per_second"):
        make_host(limits=Limits(tokens_per_second=rate))


def test_a_client_over_its_rate_is_slower_not_broken_and_another_is_served(make_host) -> None:
    free, paced = make_host(state="free"), make_host(limits=Limits(tokens=12, tokens_per_second=20.0))
    adapters, seconds = [], []
    for host in (free, paced):
        address = host.start()
        host.begin("ann", 1, 0.1, adapter_seed=1)
        host.begin("bob", 1, 0.1, adapter_seed=1)
        begun = time.monotonic()
        with SplitLink(address, host.mint("ann", 60), link_settings("bert", Cut(1, 1))) as link:
            for seed in range(3):
                x = torch.randn(2, 3, 32, generator=torch.Generator().manual_seed(seed))
                RemoteTrunk(link)(x).sin().sum().backward()
                link.step()
        seconds.append(time.monotonic() - begun)
        # ann's bucket is empty; bob's is not
        with SplitLink(address, host.mint("bob", 60), link_settings("bert", Cut(1, 1), attempts=1)) as link:
            assert link.infer(hidden()).isfinite().all()
        host.commit("ann", 1)
        adapters.append(host.adapter("ann"))
    # 36 cells, of which a second's 20 are the burst
    assert seconds[1] >= (36 - 20) / 20
    assert all(torch.equal(tensor, adapters[1][name]) for name, tensor in adapters[0].items())


def test_a_request_that_would_wait_too_long_is_refused_and_holds_nothing(make_host) -> None:
    host = make_host(limits=Limits(tokens=12, tokens_per_second=0.001))
    address = host.start()
    host.begin("ann", 1, 0.1, adapter_seed=1)
    sent = [hello(), *(one for number in (1, 2, 3) for one in ask(pb.OP_INFER, [hidden()], number=number))]
    assert Raw(address, host.mint("ann", 60), sent).outcome() == "RESOURCE_EXHAUSTED"
    host.rollback("ann")
    host.stop(0)
    assert host.held_bytes == 0
