from __future__ import annotations

import json
import math

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import ConfigError, RunError
from common.privacy.accountant import Accountant, per_release
from common.privacy.gaussian import epsilon_of
from common.privacy.noise import Mechanism, NoiseSettings

PROPERTY = hypothesis.settings(deadline=None, max_examples=60)

DELTA = 1e-5


def gaussian(epsilon: float) -> NoiseSettings:
    return NoiseSettings(Mechanism.GAUSSIAN, epsilon, clip=1.0, delta=DELTA)


def laplace(epsilon: float) -> NoiseSettings:
    return NoiseSettings(Mechanism.LAPLACE, epsilon, clip=1.0)


def test_laplace_adds_up() -> None:
    account = Accountant("laplace")
    for epsilon in (0.5, 0.25, 1.0):
        account.charge(laplace(epsilon))
    assert account.epsilon == 1.75 and account.releases == 3


@PROPERTY
@given(st.lists(st.floats(0.05, 5), min_size=1, max_size=8))
def test_gaussian_is_the_exact_cost_of_all_shifts_and_no_more_than_the_sum(epsilons: list[float]) -> None:
    account = Accountant("gaussian", DELTA)
    for epsilon in epsilons:
        account.charge(gaussian(epsilon))
    mu = math.sqrt(sum(gaussian(epsilon).shift ** 2 for epsilon in epsilons))
    assert account.epsilon == pytest.approx(epsilon_of(mu, DELTA), rel=1e-9)
    assert max(epsilons) * (1 - 1e-6) <= account.epsilon <= sum(epsilons) * (1 + 1e-6)


@pytest.mark.parametrize("make", [gaussian, laplace])
def test_the_budget_is_refused_before_it_is_passed(make: object) -> None:
    settings = make(1.0)
    account = Accountant(settings.mechanism, settings.delta, max_epsilon=2.5)
    spent = 0
    while account.epsilon_after(settings) <= 2.5:
        account.charge(settings)
        spent += 1
    before = account.epsilon
    with pytest.raises(RunError, match="max_epsilon 2.5"):
        account.charge(settings)
    assert (account.epsilon, account.releases) == (before, spent) and spent >= 2 and before <= 2.5


@pytest.mark.parametrize("mechanism", list(Mechanism))
@pytest.mark.parametrize("total", [1.0, 2.0, 4.0, 8.0])
def test_a_divided_budget_lasts_for_its_rounds_and_not_one_more(mechanism: Mechanism, total: float) -> None:
    delta = DELTA if mechanism is Mechanism.GAUSSIAN else 0.0
    settings = NoiseSettings(mechanism, per_release(mechanism, total, 30, delta), clip=1.0, delta=delta)
    account = Accountant(mechanism, delta, max_epsilon=total)
    for _ in range(30):
        account.charge(settings)
    assert account.epsilon == pytest.approx(total, rel=1e-6)
    with pytest.raises(RunError):
        account.charge(settings)


@pytest.mark.parametrize("make", [gaussian, laplace])
def test_a_resume_goes_on_from_what_was_spent(make: object) -> None:
    settings = make(0.5)
    account = Accountant(settings.mechanism, settings.delta)
    account.charge(settings)
    account.charge(settings)
    resumed = Accountant(settings.mechanism, settings.delta)
    resumed.restore(json.loads(json.dumps(account.state())))
    assert (resumed.epsilon, resumed.releases) == (account.epsilon, 2)
    resumed.charge(settings)
    account.charge(settings)
    assert resumed.epsilon == account.epsilon


@pytest.mark.parametrize(
    "change",
    [
        {"spent": math.nan},
        {"spent": -1.0},
        {"spent": 0.0},
        {"spent": "1"},
        {"releases": -1},
        {"releases": True},
        {"releases": 0},
        {"mechanism": "laplace"},
        {"delta": 1e-6},
        {"schema": 9},
    ],
)
def test_a_damaged_or_foreign_account_is_refused(change: dict) -> None:
    account = Accountant("gaussian", DELTA)
    account.charge(gaussian(1.0))
    fresh = Accountant("gaussian", DELTA)
    with pytest.raises(RunError, match="account"):
        fresh.restore(account.state() | change)
    assert fresh.epsilon == 0.0


def test_settings_of_another_account_and_nonsense_are_refused() -> None:
    account = Accountant("gaussian", DELTA)
    with pytest.raises(ConfigError, match="laplace"):
        account.charge(laplace(1.0))
    with pytest.raises(ConfigError, match="keep to one"):
        account.charge(NoiseSettings(Mechanism.GAUSSIAN, 1.0, 1.0, 1e-6))
    with pytest.raises(ConfigError, match="releases"):
        account.epsilon_after(gaussian(1.0), -1)
    for wrong in (0.0, -1.0, math.nan, -math.inf):
        with pytest.raises(ConfigError, match="max_epsilon"):
            Accountant("laplace", max_epsilon=wrong)
    with pytest.raises(ConfigError, match="delta"):
        Accountant("gaussian")
    with pytest.raises(ConfigError, match="pure epsilon"):
        Accountant("laplace", 1e-5)
    with pytest.raises(ConfigError, match="mechanism"):
        Accountant("uniform")
    with pytest.raises(ConfigError, match="releases"):
        per_release("laplace", 1.0, 0)
