from __future__ import annotations

import math

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2, kstest, laplace, norm

from common.errors import ConfigError, OutboxError
from common.privacy.gaussian import delta_of
from common.privacy.noise import Mechanism, NoiseSettings, clip, norm_of, privatise

PROPERTY = hypothesis.settings(deadline=None, max_examples=60)

GAUSSIAN = NoiseSettings(Mechanism.GAUSSIAN, epsilon=2.0, clip=0.5, delta=1e-5)
LAPLACE = NoiseSettings(Mechanism.LAPLACE, epsilon=2.0, clip=0.5)
BOTH = pytest.mark.parametrize("settings", [GAUSSIAN, LAPLACE], ids=["gaussian", "laplace"])
UPDATES = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20).map(
    lambda v: {"a": torch.tensor(v[:1], dtype=torch.float64), "b": torch.tensor(v[1:], dtype=torch.float64)}
)


def test_the_scales_are_those_of_the_formulas() -> None:
    assert LAPLACE.scale == 2 * 0.5 / 2.0
    assert LAPLACE.deviation == pytest.approx(math.sqrt(2) * 0.5)
    mu = 2 * 0.5 / GAUSSIAN.scale
    assert delta_of(mu, 2.0) <= 1e-5 < delta_of(mu * 1.0001, 2.0)


@BOTH
@PROPERTY
@given(update=UPDATES)
def test_a_clipped_update_is_no_longer_than_the_clip_and_keeps_its_direction(
    settings: NoiseSettings, update: dict
) -> None:
    clipped, length = clip(update, settings), norm_of(update, settings.order)
    assert norm_of(clipped, settings.order) <= settings.clip * (1 + 1e-9)
    factor = min(1.0, settings.clip / length) if length else 1.0
    for name, tensor in update.items():
        torch.testing.assert_close(clipped[name], tensor * factor)


@BOTH
def test_the_spread_of_the_noise_is_that_of_the_formula(settings: NoiseSettings) -> None:
    update = {"w": torch.zeros(100, 200, dtype=torch.float64), "b": torch.full((1,), 9.0, dtype=torch.float64)}
    noised = privatise(update, settings, np.random.default_rng(0))
    noise = (noised["w"] - clip(update, settings)["w"]).flatten().numpy()
    law = laplace if settings.mechanism is Mechanism.LAPLACE else norm
    assert kstest(noise, law(scale=settings.scale).cdf).pvalue > 1e-3
    assert kstest(noise, law(scale=settings.scale * 1.05).cdf).pvalue < 1e-3
    if settings.mechanism is Mechanism.GAUSSIAN:
        low, high = chi2.ppf([5e-4, 1 - 5e-4], len(noise))
        assert low < (noise / settings.scale) @ (noise / settings.scale) < high
    # |x| / b of a Laplace variable is exponential, and twice their sum chi-square with 2 n degrees
    else:
        low, high = chi2.ppf([5e-4, 1 - 5e-4], 2 * len(noise))
        assert low < 2 * np.abs(noise / settings.scale).sum() < high


@BOTH
def test_a_zero_update_is_noised_like_any_other_and_dtypes_stay(settings: NoiseSettings) -> None:
    update = {"w": torch.zeros(50), "h": torch.zeros(4, dtype=torch.float64), "s": torch.zeros(())}
    noised = privatise(update, settings, np.random.default_rng(1))
    assert {name: (t.dtype, t.shape) for name, t in noised.items()} == {
        n: (t.dtype, t.shape) for n, t in update.items()
    }
    assert (noised["w"] != 0).all() and noised["s"] != 0


def test_two_releases_of_one_update_differ_and_no_seed_of_torch_or_numpy_brings_the_noise_back() -> None:
    seen = []
    for _ in range(2):
        torch.manual_seed(0)
        np.random.seed(0)
        seen.append(privatise({"w": torch.zeros(8)}, GAUSSIAN)["w"])
    assert not torch.equal(*seen)


@BOTH
@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_never_sent(settings: NoiseSettings, wrong: float) -> None:
    with pytest.raises(OutboxError, match="'w'"):
        privatise({"w": torch.tensor([0.0, wrong])}, settings)


@pytest.mark.parametrize("wrong", [math.nan, math.inf, 0.0, -1.0])
@pytest.mark.parametrize("field", ["epsilon", "clip"])
@pytest.mark.parametrize("mechanism", list(Mechanism))
def test_settings_that_give_no_privacy_are_refused(mechanism: Mechanism, field: str, wrong: float) -> None:
    delta = 1e-5 if mechanism is Mechanism.GAUSSIAN else 0.0
    with pytest.raises(ConfigError, match=field):
        NoiseSettings(mechanism, **{"epsilon": 1.0, "clip": 1.0, "delta": delta} | {field: wrong})


def test_other_settings_that_make_no_sense_are_refused() -> None:
    for wrong in (0.0, 1.0, math.nan):
        with pytest.raises(ConfigError, match="delta"):
            NoiseSettings(Mechanism.GAUSSIAN, 1.0, 1.0, wrong)
    with pytest.raises(ConfigError, match="pure epsilon"):
        NoiseSettings(Mechanism.LAPLACE, 1.0, 1.0, 1e-5)
    with pytest.raises(ConfigError, match="'uniform'"):
        NoiseSettings("uniform", 1.0, 1.0)
    with pytest.raises(ConfigError, match="scale"):
        NoiseSettings(Mechanism.LAPLACE, 1e-300, 1e300)
