"""From a run's privacy settings to each round's noise, and an account to charge it to."""

from __future__ import annotations

from common.config import PrivacyConfig
from common.privacy.accountant import Accountant, per_release
from common.privacy.noise import Mechanism, NoiseSettings


def release_settings(privacy: PrivacyConfig, rounds: int) -> NoiseSettings | None:
    """The noise of one release, so that ``rounds`` of them cost ``privacy.epsilon`` together; None without a mechanism.

    Raises
    ------
    ConfigError : settings without a noise scale.
    """
    if privacy.mechanism == "none":
        return None
    delta = _delta(privacy)
    epsilon = per_release(privacy.mechanism, privacy.epsilon, rounds, delta)
    return NoiseSettings(Mechanism(privacy.mechanism), epsilon, privacy.clip, delta)


def accountant(privacy: PrivacyConfig) -> Accountant:
    """A client's account, empty; its budget is ``max-epsilon``, or where that is 0 ``epsilon``.

    Raises
    ------
    ConfigError : no mechanism is on.
    """
    return Accountant(privacy.mechanism, _delta(privacy), privacy.max_epsilon or privacy.epsilon)


def _delta(privacy: PrivacyConfig) -> float:
    return privacy.delta if Mechanism(privacy.mechanism) is Mechanism.GAUSSIAN else 0.0
