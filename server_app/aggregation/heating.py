"""Learning speed by difficulty: hard clients warm up later (FELLRec's curriculum heating, arXiv 2402.09959).

The heat w_c(t) of a client scales what it takes from the others, and may scale its learning rate.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from common.errors import ConfigError

Pace = Literal["linear", "none"]


def difficulty(losses: Tensor, temperature: float = 0.05) -> Tensor:
    """p = softmax(losses / temperature) over the clients, float64 [n].

    At a temperature of 1 the losses of trained clients hardly differ in p, and heating does nothing.
    """
    return _log_difficulty(losses, temperature).exp()


def heat(losses: Tensor, round: int, alpha: float = 0.7, beta: float = 5.0, temperature: float = 0.05) -> Tensor:
    """w_c(t) = tanh(alpha / p_c^(t / beta)), float64 [n], with p = :func:`difficulty`.

    Every client starts at tanh(alpha) (0.604) and rises towards 1, one with a higher loss more slowly. Where one client
    bears all the difficulty (p near 1; always so for a client alone) it stays near tanh(alpha).

    Parameters
    ----------
    losses : mean training loss per client, [n]; of any sign, finite.
    round : t, counted from 0.
    alpha, beta : the start and the slowness of the rise, positive.
    temperature : of the softmax over the losses, positive.

    Raises
    ------
    ConfigError : a setting out of range, or losses that are not finite.
    """
    if round < 0:
        raise ConfigError(f"round is {round!r}", "rounds count from 0")
    _check_positive("alpha", alpha)
    _check_positive("beta", beta)
    # In logarithms: p^(t / beta) underflows long before the heat, which is then 1, is in doubt.
    growth = torch.exp(_log_difficulty(losses, temperature) * (-round / beta))
    return torch.tanh(alpha * growth)


def pace(heat: Tensor, shape: Pace = "linear") -> Tensor:
    """Multipliers of the clients' learning rates, [n].

    "linear" is the heat itself: tanh(alpha) of the base rate in round 0, all of it once warm. "none" is always 1.

    Raises
    ------
    ConfigError : an unknown shape.
    """
    if shape == "linear":
        return heat.clone()
    if shape == "none":
        return torch.ones_like(heat)
    raise ConfigError(f"pace is {shape!r}", "choose 'linear' or 'none'")


def _log_difficulty(losses: Tensor, temperature: float) -> Tensor:
    _check_positive("temperature", temperature)
    losses = losses.double()
    if not torch.isfinite(losses).all():
        raise ConfigError(f"losses are {losses.tolist()!r}", "leave out clients whose loss is not finite")
    # The floor keeps 0 * -inf out of the exponent of round 0.
    return torch.log_softmax(((losses - losses.max()) / temperature).clamp(min=-1e300), dim=0)


def _check_positive(name: str, value: float) -> None:
    if not (value > 0 and math.isfinite(value)):
        raise ConfigError(f"heating {name} is {value!r}", "choose a positive number")
