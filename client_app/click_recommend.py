"""Recommendations for one person by a click model: the items of the log that it most probably clicks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from client_app.click_holding import MOST_ROWS, ClickHolding
from client_app.recommendations import Recommendations, Recommended
from common.data.attributes import UNKNOWN
from common.errors import ConfigError, DataError
from common.recommenders.click.model import ClickModel
from common.recommenders.click.warm_start import item_codes, user_codes


class ClickRecommending:
    """A client's click model, which is one user's; see :class:`client_app.recommendations.Recommends`.

    Parameters
    ----------
    model : with all tensors of the client.
    holding : of this client alone.
    item_ids : whether the model tells every item apart.
    """

    def __init__(self, model: ClickModel, holding: ClickHolding, item_ids: bool) -> None:
        self._model, self._log, self._item_ids = model, holding.log, item_ids
        (self._client,) = holding.names

    @property
    def client(self) -> str:
        """The client's name."""
        return self._client

    @property
    def users(self) -> tuple[str, ...]:
        """The client's one user, by its own id."""
        return self._log.user_keys

    def for_user(self, user: str = "", top: int = 10) -> Recommendations:
        """The ``top`` items that the client was not shown in its own rows, most probable click first.

        Raises
        ------
        DataError : ``user`` is neither the client's one user nor ''.
        """
        return next(self.for_users([user] if user else self.users, top))

    def for_users(self, users: Sequence[str], top: int = 10) -> Iterator[Recommendations]:
        """The same for each of these, who can only be the client's one user.

        Raises
        ------
        DataError : one is somebody else; nothing is computed then.
        """
        (own,) = self.users
        for user in users:
            if user != own:
                raise DataError(f"client {self.client!r} has no user {user!r}", f"its one user is {own!r}")
        return (Recommendations(self.client, own, self._history, self._best(top)) for _ in users)

    def for_history(self, titles: Sequence[str], top: int = 10) -> Recommendations:
        """Refuses: a click model knows a person by attributes.

        Raises
        ------
        ConfigError : always.
        """
        raise ConfigError(
            f"the history has {len(titles)} titles, but client {self.client!r} has a click model, which reads attributes "
            "and no titles",
            f"leave the history out, and ask for its one user {self.users[0]!r}",
        )

    def _best(self, top: int) -> tuple[Recommended, ...]:
        chosen = self._ranking[:top]
        clicked = torch.sigmoid(self._logits[torch.from_numpy(chosen)].double())
        titles = self._titles(chosen)
        return tuple(
            Recommended(self._log.item_keys[item], title, score, ())
            for item, title, score in zip(chosen.tolist(), titles, clicked.tolist(), strict=True)
        )

    @cached_property
    @torch.no_grad()
    def _logits(self) -> Tensor:
        """Of every item of the log, [items]."""
        user, items = user_codes(self._log), item_codes(self._log, self._item_ids)
        return torch.cat([self._model(user.expand(len(part), -1), part) for part in items.split(MOST_ROWS)])

    @cached_property
    def _ranking(self) -> NDArray[np.int64]:
        """The items that were not shown to the client, the highest logit first; of equal ones the first of the log."""
        order = np.argsort(-self._logits.numpy(), kind="stable")
        return order[~np.isin(order, self._log.items)]

    @cached_property
    def _history(self) -> tuple[str, ...]:
        """What the client clicked, the newest first, each item once."""
        clicked = self._log.items[self._log.clicks > 0][::-1]
        _, first = np.unique(clicked, return_index=True)
        return self._titles(clicked[np.sort(first)])

    def _titles(self, items: Iterable[int]) -> tuple[str, ...]:
        """Of each item its key, and the attributes that the log knows of it."""
        attributes = self._log.item_attributes
        found = []
        for item in items:
            values = [own[code] for own, code in zip(attributes.values, attributes.codes[item], strict=True)]
            known = [
                f"{name} {value}" for name, value in zip(attributes.names, values, strict=True) if value != UNKNOWN
            ]
            found.append(": ".join([self._log.item_keys[item], *([", ".join(known)] if known else [])]))
        return tuple(found)
