"""Local differential privacy of what a client sends: clip, then noise, counted before either.

The neighbours are any two data sets of one client (replacement, the whole data set at once): its clipped update may go
from any point of the ball to any other, so the sensitivity is the ball's diameter, twice the clip. The guarantee then
holds against the server itself, and does not lean on how many other clients take part.

Noise is drawn in double precision; the gaps between such numbers can tell more than the formula allows (Mironov, On
Significance of the Least Significant Bits for Differential Privacy, CCS 2012), which rounding to float32 blunts and does
not mend.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import torch
from torch import Tensor

from common.errors import ConfigError, OutboxError
from common.low_rank import Adapter
from common.privacy.gaussian import check_delta, check_epsilon, mu_of


class Mechanism(StrEnum):
    """The noise's distribution, and with it the norm that is clipped."""

    LAPLACE = "laplace"
    """L1 norm, pure epsilon."""
    GAUSSIAN = "gaussian"
    """L2 norm, epsilon at a delta."""


@dataclass(frozen=True)
class NoiseSettings:
    """The noise on one release.

    Parameters
    ----------
    mechanism : see :class:`Mechanism`.
    epsilon : of one release.
    clip : greatest norm of a release, in the mechanism's norm.
    delta : of the run, for the Gaussian; 0 for Laplace.

    Raises
    ------
    ConfigError : a value that is not finite, not positive, or out of its range.
    """

    mechanism: Mechanism
    epsilon: float
    clip: float
    delta: float = 0.0
    _mu: float = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.mechanism not in tuple(Mechanism):
            raise ConfigError(f"mechanism is {self.mechanism!r}", f"choose one of {', '.join(Mechanism)}")
        object.__setattr__(self, "mechanism", Mechanism(self.mechanism))
        check_epsilon(self.epsilon)
        check_epsilon(self.clip, "clip")
        if self.mechanism is Mechanism.GAUSSIAN:
            check_delta(self.delta)
        elif self.delta != 0:
            raise ConfigError(f"delta is {self.delta!r} for Laplace noise", "it gives pure epsilon: set delta to 0")
        # found here, so that settings without a scale are refused before any work
        object.__setattr__(self, "_mu", mu_of(self.epsilon, self.delta) if self.delta else self.epsilon)
        check_epsilon(self.scale, "noise scale")

    @property
    def order(self) -> int:
        """The order of the norm that is clipped: 1 or 2."""
        return 1 if self.mechanism is Mechanism.LAPLACE else 2

    @property
    def sensitivity(self) -> float:
        """How far two clipped releases can lie apart, in the mechanism's norm."""
        return 2 * self.clip

    @property
    def shift(self) -> float:
        """Sensitivity over scale: epsilon itself for Laplace, mu for the Gaussian."""
        return self._mu

    @property
    def scale(self) -> float:
        """Laplace's b (standard deviation b sqrt 2) or the Gaussian's sigma, of every number that is sent."""
        return self.sensitivity / self.shift

    @property
    def deviation(self) -> float:
        """The standard deviation of the noise on one number."""
        return self.scale * (2**0.5 if self.mechanism is Mechanism.LAPLACE else 1.0)


def norm_of(update: Mapping[str, Tensor], order: int) -> float:
    """The L1 or L2 norm of all tensors together, summed in float64.

    Raises OutboxError where a value is not finite: a clip does not bound it.
    """
    total = 0.0
    for name, tensor in update.items():
        values = tensor.detach().double().abs()
        if not torch.isfinite(values).all():
            raise OutboxError(f"tensor {name!r} holds a value that is not finite", "lower the learning rate")
        total += float(values.sum() if order == 1 else values.square().sum())
    return total if order == 1 else total**0.5


def clip(update: Mapping[str, Tensor], settings: NoiseSettings) -> Adapter:
    """The update, scaled down as a whole to the clip where it is longer; float64, a zero update stays zero."""
    length = norm_of(update, settings.order)
    factor = min(1.0, settings.clip / length) if length > 0 else 1.0
    return {name: tensor.detach().double() * factor for name, tensor in update.items()}


def privatise(
    update: Mapping[str, Tensor], settings: NoiseSettings, generator: np.random.Generator | None = None
) -> Adapter:
    """The clipped update with noise on every number, in the tensors' own dtypes.

    Count the release first (:class:`common.privacy.accountant.Accountant`).

    Parameters
    ----------
    generator : for tests only. By default the noise is seeded by the operating system: whoever knows a run's seed could
        otherwise draw the same noise and take it off.
    """
    source = np.random.default_rng() if generator is None else generator
    draw = source.laplace if settings.mechanism is Mechanism.LAPLACE else source.normal
    noised = {}
    for name, tensor in sorted(clip(update, settings).items()):
        noise = torch.from_numpy(np.asarray(draw(0.0, settings.scale, tuple(tensor.shape))))
        noised[name] = (tensor.cpu() + noise).to(update[name].dtype)
    return noised
