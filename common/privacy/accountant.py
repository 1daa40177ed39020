"""What a client's releases cost together, over rounds and resumes; a budget that is never passed."""

from __future__ import annotations

import math
from collections.abc import Mapping

from common.errors import ConfigError, RunError
from common.privacy.gaussian import check_delta, check_epsilon, epsilon_of, mu_of
from common.privacy.noise import Mechanism, NoiseSettings

SCHEMA = 1


class Accountant:
    """Counts one client's releases of one mechanism.

    Laplace: epsilons add up (basic composition, delta 0). Gaussian: shifts add up in squares, and epsilon is read off
    the exact privacy curve at ``delta``, see :mod:`common.privacy.gaussian`. Both hold for releases that are chosen after
    seeing earlier ones. All rounds of all resumes of a run count as one; save :meth:`state` before a release leaves.

    Parameters
    ----------
    mechanism : of all releases.
    delta : that epsilon is reported at; 0 for Laplace.
    max_epsilon : the budget; infinite for none.

    Raises
    ------
    ConfigError : a setting out of its range.
    """

    def __init__(self, mechanism: Mechanism | str, delta: float = 0.0, max_epsilon: float = math.inf) -> None:
        if mechanism not in tuple(Mechanism):
            raise ConfigError(f"mechanism is {mechanism!r}", f"choose one of {', '.join(Mechanism)}")
        self.mechanism = Mechanism(mechanism)
        if self.mechanism is Mechanism.GAUSSIAN:
            check_delta(delta)
        elif delta != 0:
            raise ConfigError(f"delta is {delta!r} for Laplace noise", "it gives pure epsilon: set delta to 0")
        if max_epsilon != math.inf:
            check_epsilon(max_epsilon, "max_epsilon")
        self.delta, self.max_epsilon = delta, max_epsilon
        self.releases = 0
        self._spent = 0.0

    @property
    def epsilon(self) -> float:
        """What the releases so far cost together."""
        return self._epsilon(self._spent)

    def epsilon_after(self, settings: NoiseSettings, releases: int = 1) -> float:
        """What they would cost with that many more; raises ConfigError where the settings are not this accountant's."""
        if releases < 0:
            raise ConfigError(f"releases is {releases!r}", "it must be 0 or more")
        return self._epsilon(self._spent + releases * self._cost(settings))

    def charge(self, settings: NoiseSettings) -> None:
        """Count one release, before its noise is drawn.

        Raises
        ------
        RunError : the release would pass the budget; nothing is counted then.
        ConfigError : the settings are not this accountant's.
        """
        after = self.epsilon_after(settings)
        if after > self.max_epsilon * (1 + 1e-9):
            raise RunError(
                f"a release of epsilon {settings.epsilon!r} would bring the total from {self.epsilon:.4g} to {after:.4g}, "
                f"past max_epsilon {self.max_epsilon!r}",
                "stop here, or start a run with fewer rounds, a smaller epsilon or a larger budget",
            )
        self._spent += self._cost(settings)
        self.releases += 1

    def state(self) -> dict[str, str | float | int]:
        """What a resume needs, for JSON; the budget is the run's own setting and not part of it."""
        return {
            "schema": SCHEMA,
            "mechanism": str(self.mechanism),
            "delta": self.delta,
            "releases": self.releases,
            "spent": self._spent,
        }

    def restore(self, state: Mapping[str, object]) -> None:
        """Go on from what :meth:`state` gave.

        Raises
        ------
        RunError : it is damaged, of another schema, or of another mechanism or delta.
        """
        expected = {"schema": SCHEMA, "mechanism": str(self.mechanism), "delta": self.delta}
        releases, spent = state.get("releases"), state.get("spent")
        if any(state.get(name) != value for name, value in expected.items()):
            raise RunError(
                f"privacy account is {dict(state)!r}, this run's is {expected!r}", "resume with the same noise"
            )
        if not (
            isinstance(releases, int)
            and not isinstance(releases, bool)
            and releases >= 0
            and isinstance(spent, float | int)
            and math.isfinite(spent)
            and (spent > 0) == (releases > 0)
        ):
            raise RunError(
                f"damaged privacy account {dict(state)!r}", "start a new run; its releases count all the same"
            )
        self.releases, self._spent = releases, float(spent)

    def _cost(self, settings: NoiseSettings) -> float:
        if settings.mechanism is not self.mechanism or settings.delta != self.delta:
            raise ConfigError(
                f"a release of {settings.mechanism} noise at delta {settings.delta!r} on an account of {self.mechanism} "
                f"at {self.delta!r}",
                "keep to one mechanism and delta in a run",
            )
        return settings.shift if self.mechanism is Mechanism.LAPLACE else settings.shift**2

    def _epsilon(self, spent: float) -> float:
        return spent if self.mechanism is Mechanism.LAPLACE else epsilon_of(math.sqrt(spent), self.delta)


def per_release(mechanism: Mechanism | str, total: float, releases: int, delta: float = 0.0) -> float:
    """The epsilon of each of ``releases`` equal releases that cost ``total`` together (the Gaussian at one delta).

    Raises ConfigError for values out of their range.
    """
    check_epsilon(total)
    if releases < 1:
        raise ConfigError(f"releases is {releases!r}", "it must be 1 or more")
    if Mechanism(mechanism) is Mechanism.LAPLACE:
        return total / releases
    return epsilon_of(mu_of(total, delta) / math.sqrt(releases), delta)
