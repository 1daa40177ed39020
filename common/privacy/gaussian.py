"""What a Gaussian mechanism costs, exactly: epsilon, delta and the shift mu = sensitivity / sigma.

Between neighbours the mechanism tells two unit Gaussians mu apart. Its privacy curve is
``delta(epsilon) = Phi(mu/2 - epsilon/mu) - exp(epsilon) Phi(-mu/2 - epsilon/mu)`` (Balle and Wang, Improving the Gaussian
Mechanism, ICML 2018, theorem 8), and mechanisms with the shifts mu_i, each chosen after seeing what came before, are
together one with ``sqrt(sum mu_i^2)`` (Dong, Roth and Su, Gaussian Differential Privacy, JRSS B 2022, corollary 2). Both
are equalities, where Renyi accounting gives an upper bound.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from scipy.optimize import brentq
from scipy.special import log_ndtr

from common.errors import ConfigError

_LEAST_MU, _MOST_MU = 1e-9, 1e4


def delta_of(mu: float, epsilon: float) -> float:
    """The least delta for which a mechanism of shift mu is (epsilon, delta) private; 0 for mu 0."""
    if mu == 0:
        return 0.0
    first, second = log_ndtr(mu / 2 - epsilon / mu), epsilon + log_ndtr(-mu / 2 - epsilon / mu)
    return float(-math.exp(first) * math.expm1(min(second - first, 0.0)))


def epsilon_of(mu: float, delta: float) -> float:
    """The least epsilon for which a mechanism of shift mu is (epsilon, delta) private.

    Raises ConfigError for a delta outside (0, 1), or a shift that is negative, not finite, or above 10,000.
    """
    check_delta(delta)
    if not 0 <= mu <= _MOST_MU:
        raise ConfigError(f"shift of a Gaussian mechanism is {mu!r}", f"it lies in [0, {_MOST_MU:g}]: add more noise")
    if delta_of(mu, 0.0) <= delta:
        return 0.0
    # at epsilon = mu^2/2 + mu t delta is below Phi(-t), and t = 40 is past every delta that a float holds
    return _upward(lambda epsilon: delta_of(mu, epsilon) - delta, 0.0, mu * mu / 2 + 40 * mu)


def mu_of(epsilon: float, delta: float) -> float:
    """The greatest shift at which a mechanism is (epsilon, delta) private; sigma = sensitivity / mu.

    Raises ConfigError for an epsilon that is no positive number or a delta outside (0, 1).
    """
    check_epsilon(epsilon)
    check_delta(delta)
    if delta_of(_LEAST_MU, epsilon) > delta or delta_of(_MOST_MU, epsilon) < delta:
        raise ConfigError(f"epsilon {epsilon!r} at delta {delta!r} has no Gaussian mechanism", "choose a usual epsilon")
    root = brentq(lambda mu: delta_of(mu, epsilon) - delta, _LEAST_MU, _MOST_MU, xtol=1e-15, rtol=1e-13)
    # on the side of more noise, whatever the root's last digit is
    while delta_of(root, epsilon) > delta:
        root *= 1 - 1e-12
    return root


def check_epsilon(epsilon: float, field: str = "epsilon") -> None:
    """Raise ConfigError for what is no positive finite number."""
    if not (math.isfinite(epsilon) and epsilon > 0):
        raise ConfigError(f"{field} is {epsilon!r}", "it must be a positive finite number")


def check_delta(delta: float) -> None:
    """Raise ConfigError for what lies outside (0, 1)."""
    if not 0 < delta < 1:
        raise ConfigError(f"delta is {delta!r}", "it must be in (0, 1); well below one over the number of clients")


def _upward(excess: Callable[[float], float], low: float, high: float) -> float:
    """The root of a falling function, from the side where it is not above zero."""
    root = brentq(excess, low, high, xtol=1e-15, rtol=1e-13)
    while excess(root) > 0:
        root += max(root, 1e-12) * 1e-12
    return root
