"""How much of its own adapter a client keeps beside the mixed one.

The server mixes; the client may move a part of the way back to what it had trained, by a share that it chooses on
its own validation users, and only where the gain stands out from the noise. A fixed share costs small clients more
than it gives them, a chosen one does not.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import ArrayLike

from common.errors import ConfigError, DataError, MessageError
from common.low_rank import Adapter, Merge, ProductMixer, pairs

SHARES = (0.5, 1.0)
"""Steps from the mix (0) towards the client's own adapter (1) that are tried."""

FEWEST_USERS = 8
"""Below this a standard error says too little to act upon."""


def interpolate(mixed: Adapter, own: Adapter, share: float, merge: Merge) -> Adapter:
    """``mixed + share * (own - mixed)``, exactly ``mixed`` at share 0 and exactly ``own`` at share 1.

    Parameters
    ----------
    mixed, own : the adapter that the server mixed and the one that the client sent: same names and shapes.
    share : in [0, 1].
    merge : how the server mixed. With "product" the LoRA pairs are interpolated as products at the client's rank, since
        the factors of a product merge do not match the client's own one by one; plain tensors always one by one.

    Returns
    -------
    New tensors in the dtypes of ``mixed``.

    Raises
    ------
    ConfigError : ``share`` outside [0, 1].
    MessageError : the two adapters differ in names or shapes.
    """
    if not 0.0 <= share <= 1.0:
        raise ConfigError(f"own share is {share!r}", "choose one from 0 (the mixed adapter) to 1 (the client's own)")
    for name in sorted(mixed.keys() | own.keys()):
        here, there = (tuple(side[name].shape) if name in side else None for side in (mixed, own))
        if here != there:
            raise MessageError(
                f"tensor {name!r} is {here!r} in the mixed adapter and {there!r} in the client's own",
                "interpolate only between adapters of one form",
            )
    result = {name: torch.lerp(mixed[name], own[name].to(mixed[name]), share) for name in mixed}
    if merge == "product" and 0.0 < share < 1.0:
        weights = torch.tensor([1.0 - share, share], dtype=torch.float64)
        for pair in pairs(mixed):
            mixer = ProductMixer([(side[pair.a].cpu(), side[pair.b].cpu()) for side in (mixed, own)])
            blend = mixer.mix(weights, own[pair.a].cpu())
            result[pair.a] = blend.a.to(mixed[pair.a])
            result[pair.b] = blend.b.to(mixed[pair.b])
    return result


def choose_share(gains: Mapping[float, ArrayLike], margin: float = 2.0) -> float:
    """The share with the largest mean gain among those whose gain is no accident; else 0.

    Parameters
    ----------
    gains : per candidate share, the paired gain of each validation user over share 0, [users].
    margin : standard errors that the mean gain must exceed.

    Returns
    -------
    The chosen share; 0.0 with fewer than eight users, and where no gain stands out. Of equal gains the smaller share.

    Raises
    ------
    ConfigError : a share outside [0, 1] or a negative margin.
    DataError : gains that are not finite, or not of the same users.
    """
    if not margin >= 0.0 or not all(0.0 <= share <= 1.0 for share in gains):
        raise ConfigError(f"shares {sorted(gains)!r}, margin {margin!r}", "shares lie in [0, 1], the margin is >= 0")
    paired = {share: np.asarray(gains[share], dtype=np.float64) for share in sorted(gains)}
    if any(values.ndim != 1 or not np.isfinite(values).all() for values in paired.values()):
        raise DataError("a gain of an own share is not finite", "look for NaN among the validation scores")
    if len({len(values) for values in paired.values()}) > 1:
        raise DataError(
            f"gains of {sorted({len(values) for values in paired.values()})!r} users",
            "measure every share on the same users",
        )
    best, best_gain = 0.0, 0.0
    for share, values in paired.items():
        if len(values) < FEWEST_USERS:
            return 0.0
        mean, error = values.mean(), values.std(ddof=1) / len(values) ** 0.5
        if mean > margin * error and mean > best_gain:
            best, best_gain = share, float(mean)
    return best
