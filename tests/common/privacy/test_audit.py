from __future__ import annotations

import math

import numpy as np
import pytest

from common.errors import ConfigError, DataError
from common.privacy.accountant import Accountant
from common.privacy.audit import epsilon_lower_bound, worst_case_scores
from common.privacy.noise import Mechanism, NoiseSettings


@pytest.mark.parametrize("mechanism", list(Mechanism))
@pytest.mark.parametrize("releases", [1, 3])
def test_the_best_attack_proves_something_and_never_more_than_the_account(mechanism: Mechanism, releases: int) -> None:
    delta = 1e-5 if mechanism is Mechanism.GAUSSIAN else 0.0
    settings = NoiseSettings(mechanism, epsilon=1.5, clip=0.1, delta=delta)
    account = Accountant(mechanism, delta)
    for _ in range(releases):
        account.charge(settings)
    scores = worst_case_scores(settings, releases, 2000, 2, np.random.default_rng(0))
    found = epsilon_lower_bound(*scores, delta, confidence=0.99)
    assert 0.15 * settings.epsilon < found < account.epsilon


def test_noise_that_is_too_small_is_found_out() -> None:
    settings = NoiseSettings(Mechanism.LAPLACE, epsilon=4.0, clip=0.1)
    scores = worst_case_scores(settings, 1, 2000, 1, np.random.default_rng(0))
    claimed = 1.0
    assert epsilon_lower_bound(*scores, confidence=0.99) > claimed


def test_worlds_that_look_alike_prove_nothing_beyond_the_stated_risk() -> None:
    generator = np.random.default_rng(0)
    found = [epsilon_lower_bound(*generator.normal(size=(2, 200)), confidence=0.9) for _ in range(200)]
    assert np.mean(np.array(found) > 0) <= 0.1


def test_a_perfect_attack_proves_what_its_trials_allow_and_no_infinity() -> None:
    found = epsilon_lower_bound(np.zeros(2000), np.ones(2000))
    most = 1 - 0.025 ** (1 / 1000)
    assert found == pytest.approx(math.log((1 - most) / most))


def test_nonsense_is_refused() -> None:
    with pytest.raises(DataError, match="NaN"):
        epsilon_lower_bound([0, 1, 2, math.nan], [0, 1, 2, 3])
    with pytest.raises(DataError, match="fewer"):
        epsilon_lower_bound([0, 1], [0, 1, 2, 3])
    with pytest.raises(ConfigError, match="confidence"):
        epsilon_lower_bound([0, 1, 2, 3], [0, 1, 2, 3], confidence=1.0)
