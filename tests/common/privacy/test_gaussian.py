from __future__ import annotations

import math

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from common.errors import ConfigError
from common.privacy.gaussian import delta_of, epsilon_of, mu_of

PROPERTY = hypothesis.settings(deadline=None, max_examples=60)

EPSILONS = st.floats(0.01, 50)
DELTAS = st.sampled_from([1e-9, 1e-6, 1e-5, 1e-3, 0.1])


@pytest.mark.parametrize(("mu", "epsilon"), [(0.5, 0.1), (1.0, 1.0), (3.0, 2.0), (0.2, 0.5)])
def test_delta_is_the_hockey_stick_divergence(mu: float, epsilon: float) -> None:
    def excess(x: float) -> float:
        return max(0.0, norm.pdf(x, mu) - math.exp(epsilon) * norm.pdf(x))

    assert delta_of(mu, epsilon) == pytest.approx(
        quad(excess, -20, 20, limit=400, points=[epsilon / mu + mu / 2])[0], rel=1e-6
    )


@pytest.mark.parametrize(
    ("sigma", "rounds", "epsilon"),
    # dp-accounting 0.6.0, PLDAccountant at delta 1e-5; its RdpAccountant gives 4.729, 6.813 and 2.166
    [(1.0, 1, 4.37717810002493), (4.0, 30, 6.325715396495715), (20.0, 100, 1.993091407908809)],
)
def test_composition_agrees_with_the_privacy_loss_distribution(sigma: float, rounds: int, epsilon: float) -> None:
    assert epsilon_of(math.sqrt(rounds) / sigma, 1e-5) == pytest.approx(epsilon, rel=1e-6)


@PROPERTY
@given(EPSILONS, DELTAS)
def test_shift_and_epsilon_are_inverse_on_the_safe_side(epsilon: float, delta: float) -> None:
    mu = mu_of(epsilon, delta)
    assert delta_of(mu, epsilon) <= delta
    assert epsilon_of(mu, delta) == pytest.approx(epsilon, rel=1e-6)


@PROPERTY
@given(EPSILONS, DELTAS)
def test_the_noise_is_never_more_than_the_classical_formula_asks(epsilon: float, delta: float) -> None:
    if epsilon <= 1:
        assert 1 / mu_of(epsilon, delta) <= math.sqrt(2 * math.log(1.25 / delta)) / epsilon


@PROPERTY
@given(st.lists(st.floats(1e-3, 20), min_size=2, max_size=20, unique=True), DELTAS)
def test_more_shift_costs_more(shifts: list[float], delta: float) -> None:
    costs = [epsilon_of(mu, delta) for mu in sorted(shifts)]
    assert (np.diff(costs) >= -1e-9).all()


def test_the_ends() -> None:
    assert epsilon_of(0.0, 1e-5) == 0.0 and delta_of(0.0, 1.0) == 0.0
    assert epsilon_of(5000.0, 1e-5) > 5000.0**2 / 2


@pytest.mark.parametrize("wrong", [0.0, 1.0, -1.0, math.nan, math.inf])
def test_nonsense_is_refused(wrong: float) -> None:
    with pytest.raises(ConfigError, match="delta"):
        epsilon_of(1.0, wrong)
    if wrong != 1.0:
        with pytest.raises(ConfigError, match="epsilon"):
            mu_of(wrong, 1e-5)
    with pytest.raises(ConfigError, match="shift"):
        epsilon_of(math.nan, 1e-5)
