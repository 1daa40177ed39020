from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import ConfigError
from server_app.aggregation.heating import difficulty, heat, pace

LOSSES = st.lists(st.floats(-1e308, 1e308), min_size=1, max_size=6).map(lambda x: torch.tensor(x, dtype=torch.float64))


def test_difficulty_is_a_softmax_over_the_clients():
    # exp(0) : exp(ln 3) = 1 : 3
    assert difficulty(torch.tensor([0.0, 0.05 * math.log(3)])).tolist() == pytest.approx([0.25, 0.75], abs=1e-6)


def test_heat_by_hand():
    losses = torch.tensor([0.0, math.log(3)], dtype=torch.float64)
    # p = 1/4 and 3/4; exponent 5 / 2.5 = 2: tanh(0.7 * 16) and tanh(0.7 * 16 / 9)
    expected = [math.tanh(0.7 * 16), math.tanh(0.7 * 16 / 9)]
    assert heat(losses, 5, alpha=0.7, beta=2.5, temperature=1.0).tolist() == pytest.approx(expected, abs=1e-12)


@given(losses=LOSSES)
def test_every_client_starts_at_tanh_alpha(losses):
    assert heat(losses, 0).tolist() == pytest.approx([math.tanh(0.7)] * len(losses), abs=1e-12)
    assert math.tanh(0.7) == pytest.approx(0.604, abs=5e-4)


@given(losses=LOSSES, round=st.integers(0, 10_000), beta=st.floats(1e-3, 1e3))
@settings(max_examples=200)
def test_heat_is_finite_rises_with_the_round_and_falls_with_the_loss(losses, round, beta):
    now, later = heat(losses, round, beta=beta), heat(losses, round + 1, beta=beta)
    assert torch.isfinite(now).all() and (now > 0).all() and (now <= 1).all()
    assert (later >= now - 1e-12).all()
    assert (now[torch.argsort(losses)].diff() <= 1e-12).all()


def test_heat_rises_strictly_and_a_harder_client_stays_behind():
    heats = torch.stack([heat(torch.tensor([1.00, 1.05]), t) for t in range(4)])
    assert (heats.diff(dim=0) > 0).all()
    assert (heats[1:, 1] < heats[1:, 0]).all()


def test_a_probability_that_underflows_is_fully_warm():
    assert heat(torch.tensor([0.0, 1e6]), 50).tolist() == [1.0, pytest.approx(math.tanh(0.7))]


def test_a_client_alone_stays_at_the_start():
    assert heat(torch.tensor([2.0]), 100).item() == pytest.approx(math.tanh(0.7))


def test_pace():
    heats = torch.tensor([0.604, 0.9, 1.0])
    assert torch.equal(pace(heats), heats)
    assert torch.equal(pace(heats, "none"), torch.ones(3))
    with pytest.raises(ConfigError, match="'cubic'"):
        pace(heats, "cubic")


@pytest.mark.parametrize("setting", [{"alpha": 0.0}, {"beta": -1.0}, {"temperature": float("nan")}, {"round": -1}])
def test_heat_refuses_settings_out_of_range(setting):
    with pytest.raises(ConfigError, match=next(iter(setting))):
        heat(torch.ones(2), **({"round": 1} | setting))


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_heat_refuses_losses_that_are_not_finite(loss):
    with pytest.raises(ConfigError, match="losses"):
        heat(torch.tensor([1.0, loss]), 1)
