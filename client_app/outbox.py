"""The one door out of a client: an allow-list by scope, then for each client its own clip, account and noise.

It fails closed. A tensor whose scope may not leave, that the server did not send first, or of another shape stops the
message; a client whose numbers are not finite, or whose privacy budget is used up, is left out by name.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from flwr.app import RecordDict
from torch import Tensor

from client_app.memory import Memory
from common.adapters.many import State
from common.config import PrivacyConfig
from common.errors import DataError, MessageError, OutboxError, RunError
from common.messages import Report, Roster, check_adapter
from common.privacy.budget import accountant
from common.privacy.noise import NoiseSettings, privatise
from common.scopes import Scope

log = logging.getLogger("flwr")


@dataclass(eq=False)
class Released:
    """What leaves.

    Attributes
    ----------
    places : list of int
        Places of the clients whose contributions leave, in the order of those that were asked.
    contribution : State
        Tensors of these clients, [clients, ...].
    epsilons : list of float
        What the releases of each have cost so far; empty without noise.
    left_out : dict of str
        Reason by client that is left out.
    """

    places: list[int] = field(default_factory=list)
    contribution: State = field(default_factory=dict)
    epsilons: list[float] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)


class Outbox:
    """Lets contributions out.

    Parameters
    ----------
    scopes : Mapping[str, Scope]
        Scope of every trained tensor by name.
    received : Mapping[str, Tensor]
        A tensor of each name that the server sent, in one client's shape: the allow-list.
    privacy : PrivacyConfig
        Budget of each client.
    noise : NoiseSettings or None
        Noise on each contribution; None for none.
    """

    def __init__(
        self,
        scopes: Mapping[str, Scope],
        received: Mapping[str, Tensor],
        privacy: PrivacyConfig,
        noise: NoiseSettings | None,
    ) -> None:
        self._scopes, self._received, self._privacy, self._noise = scopes, received, privacy, noise

    def release(
        self,
        clients: Sequence[str],
        contribution: State,
        memories: Sequence[Memory],
        start: Mapping[str, Tensor] | None = None,
    ) -> Released:
        """The contributions that may leave.

        Parameters
        ----------
        clients : Sequence[str]
            Clients in the order of the stacked tensors.
        contribution : State
            Tensors or gradients, [clients, ...].
        memories : Sequence[Memory]
            Where each client keeps its account.
        start : Mapping[str, Tensor] or None
            What the clients began from, [clients, ...]: noise is on what they moved it by. None for gradients, which
            are noised as they are.

        Raises
        ------
        OutboxError : a name or shape that may not leave.
        """
        self._check(clients, contribution)
        released, rows = Released(), []
        finite = torch.ones(len(clients), dtype=torch.bool)
        for tensor in contribution.values():
            finite &= torch.isfinite(tensor.detach()).flatten(1).all(dim=1).cpu()
        for place, client in enumerate(clients):
            own = {name: tensor[place].detach().cpu() for name, tensor in contribution.items()}
            if not finite[place]:
                released.left_out[client] = "its numbers are not finite: lower its learning rate"
                continue
            if self._noise is not None and own:
                try:
                    # a release that is counted and lost is safe, one that is sent and not counted is not
                    spent = memories[place].charge(accountant(self._privacy), self._noise)
                except (RunError, DataError) as error:
                    log.warning("client %s: %s", client, error)
                    released.left_out[client] = "privacy budget" if isinstance(error, RunError) else "privacy account"
                    continue
                own = _noised(own, self._noise, start and {name: start[name][place] for name in own})
                released.epsilons.append(spent)
            released.places.append(place)
            rows.append(own)
        if rows:
            released.contribution = {name: torch.stack([row[name] for row in rows]) for name in contribution}
        return released

    def _check(self, clients: Sequence[str], contribution: State) -> None:
        for name in contribution:
            scope = self._scopes.get(name, Scope.PRIVATE)
            if not scope.may_leave:
                raise OutboxError(f"tensor {name!r} is {scope.value!r} and stays here")
        try:
            check_adapter(contribution, self._received, "outbox", len(clients))
        except MessageError as error:
            raise OutboxError(error.message, error.hint) from error


def record_of(answer: Report | Roster) -> RecordDict:
    """The record of what a node answers; only these two kinds exist, and each lists its own fields."""
    return answer.to_record()


def _noised(own: dict[str, Tensor], noise: NoiseSettings, start: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
    """All of a client's tensors as one vector: clipped together, each number with noise of its own."""
    moved = own if start is None else {name: own[name] - start[name] for name in own}
    flat = torch.cat([tensor.flatten() for tensor in moved.values()])
    noised = privatise({"contribution": flat}, noise)["contribution"]
    parts = noised.split([tensor.numel() for tensor in own.values()])
    found = {name: part.view(tensor.shape) for (name, tensor), part in zip(own.items(), parts, strict=True)}
    return found if start is None else {name: start[name] + part for name, part in found.items()}
