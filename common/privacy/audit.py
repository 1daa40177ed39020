"""A lower bound of epsilon by attack: what the noise is seen to give away, beside what the formula says it may."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.stats import beta

from common.errors import ConfigError, DataError
from common.privacy.noise import Mechanism, NoiseSettings, privatise


def epsilon_lower_bound(without: ArrayLike, with_: ArrayLike, delta: float = 0.0, confidence: float = 0.95) -> float:
    """The epsilon that an attack's scores in two neighbouring worlds prove, with that confidence; 0 for nothing.

    An (epsilon, delta) private mechanism keeps every test to ``P(hit) <= e^epsilon P(false alarm) + delta`` and the same
    with the worlds swapped (Kairouz, Oh and Viswanath, ICML 2015). The threshold is chosen on the first half of the
    scores and judged on the second, its two error rates bounded by Clopper and Pearson at half the risk each, as in
    audits of private training (Jagielski, Ullman and Oprea, NeurIPS 2020; Nasr et al., S&P 2021).

    Parameters
    ----------
    without, with_ : scores [n], higher where the attack thinks that the world is ``with_``; four or more each.

    Raises
    ------
    DataError : NaN or too few scores.
    ConfigError : delta outside [0, 1) or a confidence outside (0, 1).
    """
    first, second = (np.asarray(scores, dtype=np.float64).ravel() for scores in (without, with_))
    if min(len(first), len(second)) < 4 or np.isnan(first).any() or np.isnan(second).any():
        raise DataError(
            f"{len(first)} and {len(second)} scores, NaN or fewer than four", "give the scores of an attack"
        )
    if not (0 <= delta < 1 and 0 < confidence < 1):
        raise ConfigError(f"delta is {delta!r}, confidence {confidence!r}", "give [0, 1) and (0, 1)")
    thresholds = np.unique(np.quantile(np.concatenate([first[::2], second[::2]]), np.linspace(0, 1, 201)))
    risk = (1 - confidence) / 2
    chosen = thresholds[np.argmax(_bounds(first[::2], second[::2], thresholds, delta, risk))]
    return float(_bounds(first[1::2], second[1::2], np.array([chosen]), delta, risk)[0])


def worst_case_scores(
    settings: NoiseSettings, releases: int, trials: int, numbers: int, generator: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Scores of the best attack on ``releases`` releases of the two updates that lie furthest apart, [trials] each.

    The updates are the clip along one of ``numbers`` axes and its opposite; the score is the log-likelihood ratio, the
    strongest by Neyman and Pearson. Every release goes through :func:`common.privacy.noise.privatise`.
    """
    worlds = []
    for sign in (-1.0, 1.0):
        update = {"canary": torch.zeros(numbers, dtype=torch.float64)}
        update["canary"][0] = sign * settings.clip
        seen = [
            [float(privatise(update, settings, generator)["canary"][0]) for _ in range(releases)] for _ in range(trials)
        ]
        worlds.append(_log_ratio(np.array(seen), settings).sum(axis=1))
    return worlds[0], worlds[1]


def _log_ratio(seen: NDArray[np.float64], settings: NoiseSettings) -> NDArray[np.float64]:
    """log p(seen | +clip) - log p(seen | -clip), number by number."""
    if settings.mechanism is Mechanism.LAPLACE:
        ratio = (np.abs(seen + settings.clip) - np.abs(seen - settings.clip)) / settings.scale
        # beyond the two centres the ratio is constant: rounding must not tell such outcomes apart
        return ratio.round(9)
    return 2 * settings.clip * seen / settings.scale**2


def _bounds(
    without: NDArray[np.float64], with_: NDArray[np.float64], thresholds: NDArray[np.float64], delta: float, risk: float
) -> NDArray[np.float64]:
    """The bound that each threshold gives, [thresholds]."""
    alarms = _most((without >= thresholds[:, None]).sum(axis=1), len(without), risk)
    misses = _most((with_ < thresholds[:, None]).sum(axis=1), len(with_), risk)
    ratios = np.maximum((1 - delta - misses) / alarms, (1 - delta - alarms) / misses)
    bounds: NDArray[np.float64] = np.log(np.maximum(ratios, 1.0))
    return bounds


def _most(hits: NDArray[np.integer], trials: int, risk: float) -> NDArray[np.float64]:
    """The one-sided upper limit of a probability by Clopper and Pearson."""
    return np.where(hits == trials, 1.0, beta.ppf(1 - risk, hits + 1, np.maximum(trials - hits, 1)))
