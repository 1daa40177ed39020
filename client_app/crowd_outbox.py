"""The one door out of a crowd of clients: an allow-list by scope, then for each client its own clip, account and noise.

It fails closed. A tensor whose scope may not leave, or that the server did not send first, stops the node's message; a
client whose numbers are not finite, or whose privacy budget is used up, is left out by name.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from client_app.crowd_memory import CrowdMemory
from common.adapters.many import State
from common.config import PrivacyConfig
from common.errors import DataError, OutboxError, RunError
from common.privacy.budget import accountant
from common.privacy.noise import NoiseSettings, privatise
from common.scopes import Scope

log = logging.getLogger("flwr")


@dataclass(frozen=True, eq=False)
class Released:
    """What leaves: positions of the clients who report, their tensors [those, ...], and what their releases cost so far."""

    places: list[int]
    upload: State
    epsilons: list[float]
    left_out: dict[str, str]


class CrowdOutbox:
    """Lets clients' uploads out.

    Parameters
    ----------
    scopes : of every tensor of the model, by name.
    received : a tensor of each name that the server sent, in one client's shape: the allow-list.
    release : the noise on each upload; None for none.
    """

    def __init__(
        self, scopes: Mapping[str, Scope], received: Mapping[str, Tensor], privacy: PrivacyConfig, release: NoiseSettings | None
    ) -> None:  # fmt: skip
        self._scopes, self._received, self._privacy, self._release = scopes, received, privacy, release

    def release(self, clients: Sequence[str], upload: State, memory: CrowdMemory) -> Released:
        """The uploads [clients, ...] that may leave.

        Raises
        ------
        OutboxError : a name or shape that may not.
        """
        self._check(clients, upload)
        released = Released([], {}, [], {})
        rows: list[dict[str, Tensor]] = []
        finite = torch.ones(len(clients), dtype=torch.bool)
        for tensor in upload.values():
            finite &= torch.isfinite(tensor.detach()).flatten(1).all(dim=1)
        for place, client in enumerate(clients):
            own = {name: tensor[place].detach() for name, tensor in upload.items()}
            if not finite[place]:
                released.left_out[client] = "its numbers are not finite: lower 'fedpa.private-learning-rate'"
                continue
            if self._release is not None and own:
                try:
                    # a release that is counted and lost is safe, one that is sent and not counted is not
                    spent = memory.charge(client, accountant(self._privacy), self._release)
                except (RunError, DataError) as error:
                    log.warning("client %s: %s", client, error)
                    released.left_out[client] = "privacy budget" if isinstance(error, RunError) else "privacy account"
                    continue
                own = _noised(own, self._release)
                released.epsilons.append(spent)
            released.places.append(place)
            rows.append(own)
        if rows:
            released.upload.update({name: torch.stack([row[name] for row in rows]) for name in upload})
        return released

    def _check(self, clients: Sequence[str], upload: State) -> None:
        if upload.keys() != self._received.keys():
            odd = sorted(upload.keys() ^ self._received.keys())[0]
            raise OutboxError(f"tensor {odd!r} is not on both sides", "server and clients must use the same settings")
        for name, tensor in upload.items():
            scope = self._scopes.get(name, Scope.PRIVATE)
            if not scope.may_leave:
                raise OutboxError(f"tensor {name!r} is {scope.value!r} and stays here")
            if tensor.shape != (len(clients), *self._received[name].shape):
                raise OutboxError(f"tensor {name!r} has shape {tuple(tensor.shape)!r} for {len(clients)} clients")


def _noised(own: dict[str, Tensor], release: NoiseSettings) -> dict[str, Tensor]:
    """All of a client's tensors as one vector: clipped together, each number with noise of its own."""
    flat = torch.cat([tensor.flatten() for tensor in own.values()])
    noised = privatise({"upload": flat}, release)["upload"]
    parts = noised.split([tensor.numel() for tensor in own.values()])
    return {name: part.view(tensor.shape) for (name, tensor), part in zip(own.items(), parts, strict=True)}
