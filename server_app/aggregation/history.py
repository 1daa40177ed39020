"""Averages over rounds: each client's mean of its last mixed adapters."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping
from urllib.parse import quote, unquote

import torch
from torch import Tensor

from common.errors import ConfigError, RunError
from common.low_rank import Adapter, Merge, mean_adapter
from server_app.aggregation.merge import merge as merge_adapters


class RoundAverage:
    """The last ``window`` mixed adapters of every client, and their mean.

    Parameters
    ----------
    window : rounds that the mean covers, at least 1.
    merge : how the run merges. Factors are averaged one by one only in a run that merges factors; after a product merge
        they do not match from round to round, and the mean is taken in product space.
    """

    def __init__(self, window: int, merge: Merge) -> None:
        if window < 1:
            raise ConfigError(f"averaging window is {window!r} rounds", "choose 1 (no averaging) or more")
        self.window = window
        self.merge = merge
        self._kept: dict[str, deque[Adapter]] = defaultdict(lambda: deque(maxlen=window))

    def add(self, adapters: Mapping[str, Adapter]) -> None:
        """Remember a round's mixed adapters, by client; the tensors are kept, not copied."""
        for client, adapter in adapters.items():
            self._kept[client].append(adapter)

    def __contains__(self, client: str) -> bool:
        """Whether anything is remembered of this client."""
        return client in self._kept

    def mean(self, client: str) -> Adapter:
        """The mean of the client's remembered adapters.

        Raises
        ------
        RunError : none is remembered for this client.
        """
        if client not in self._kept:
            raise RunError(f"no mixed adapter of client {client!r} is remembered", "add a round before its mean")
        kept = list(self._kept[client])
        if self.merge == "factors":
            # as a client averages what it keeps: a tensor is the same to the bit on either side of the cut
            return mean_adapter(kept)
        weights = torch.full((len(kept), len(kept)), 1.0 / len(kept), dtype=torch.float64)
        return merge_adapters(self.merge, kept, weights).adapters[-1]

    def state_dict(self) -> dict[str, Tensor]:
        """All that is remembered as flat tensors, ``client/age/name`` with age 0 the oldest: ready for safetensors."""
        return {
            f"{quote(client, safe='')}/{age}/{name}": tensor
            for client, kept in self._kept.items()
            for age, adapter in enumerate(kept)
            for name, tensor in adapter.items()
        }

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Remember what :meth:`state_dict` gave, instead of what is remembered now; of a longer window its newest part.

        Raises
        ------
        RunError : a key that :meth:`state_dict` does not write.
        """
        found: dict[str, dict[int, Adapter]] = defaultdict(lambda: defaultdict(dict))
        for key, tensor in tensors.items():
            client, age, name = [*key.split("/", 2), "", ""][:3]
            if not (client and name and age.isascii() and age.isdigit()):
                raise RunError(f"averaging state has a tensor {key!r}", "restore it from a checkpoint of this run")
            found[unquote(client)][int(age)][name] = tensor
        self._kept.clear()
        for client, by_age in found.items():
            self._kept[client].extend(by_age[age] for age in sorted(by_age))
