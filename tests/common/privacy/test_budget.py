from __future__ import annotations

import pytest

from common.config import PrivacyConfig
from common.errors import RunError
from common.privacy.budget import accountant, release_settings


@pytest.mark.parametrize("mechanism", ["laplace", "gaussian"])
@pytest.mark.parametrize("rounds", [1, 16, 100])
def test_all_rounds_fit_into_the_budget_and_one_more_does_not(mechanism: str, rounds: int) -> None:
    privacy = PrivacyConfig(mechanism=mechanism, epsilon=2.0)
    release, account = release_settings(privacy, rounds), accountant(privacy)
    for _ in range(rounds):
        account.charge(release)
    assert account.epsilon == pytest.approx(2.0, rel=1e-6)
    with pytest.raises(RunError, match="past max_epsilon 2.0"):
        account.charge(release)


def test_a_smaller_budget_ends_the_releases_earlier() -> None:
    privacy = PrivacyConfig(mechanism="laplace", epsilon=4.0, max_epsilon=2.0)
    release, account = release_settings(privacy, 4), accountant(privacy)
    account.charge(release)
    account.charge(release)
    with pytest.raises(RunError):
        account.charge(release)


def test_without_a_mechanism_there_is_no_noise() -> None:
    assert release_settings(PrivacyConfig(), 4) is None
