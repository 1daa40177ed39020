"""What the strongest attack proves of the noise, beside what the accountant says of it: a lower and an upper bound of epsilon.

The attack knows the two updates that lie furthest apart, sees all of a run's releases of one of them, and guesses which;
its scores are likelihood ratios, so no attack does better. The bound holds with 95 % confidence.
"""

from __future__ import annotations

import numpy as np

from benchmarks.harness import Result, Size, main, result
from common.config import PrivacyConfig
from common.privacy.audit import epsilon_lower_bound, worst_case_scores
from common.privacy.budget import accountant, release_settings

EPSILONS = (1.0, 2.0, 4.0, 8.0)
ROUNDS = 16
NUMBERS = 4


def measure(size: Size) -> list[Result]:
    """For each mechanism and epsilon: the attack's lower bound over the accountant's figure, which it must not exceed."""
    rounds, trials = size.pick((2, 400), (ROUNDS, 4_000), (ROUNDS, 20_000))
    found = []
    for place, mechanism in enumerate(("gaussian", "laplace")):
        for epsilon in EPSILONS:
            privacy = PrivacyConfig(mechanism=mechanism, epsilon=epsilon, clip=0.2)
            settings, account = release_settings(privacy, rounds), accountant(privacy)
            for _ in range(rounds):
                account.charge(settings)
            draw = np.random.default_rng([place, int(epsilon)])
            scores = worst_case_scores(settings, rounds, trials, NUMBERS, draw)
            proven = epsilon_lower_bound(*scores, delta=account.delta)
            found.append(
                result(
                    f"{mechanism}, {rounds} rounds, epsilon {epsilon:g}: proven by attack / accounted",
                    proven / account.epsilon,
                    1.0,
                    "lower",
                    "x",
                    accounted=account.epsilon,
                    proven=proven,
                    scale=settings.scale,
                    trials=trials,
                )
            )
    return found


if __name__ == "__main__":
    main("epsilon", __doc__, measure)
