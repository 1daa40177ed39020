"""Recommendations for people of a client, made on the client from its own data, its own layers and its own adapter."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from client_app.holding import Holding
from client_app.items import Base, Shelf, frozen_in, item_matrix
from client_app.memory import Memory
from client_app.ranking import Scorer, fitted_evidence, recommender_scorer
from client_app.recommendations import Recommendations, Recommended
from client_app.title_finder import TitleFinder
from common.config import RunConfig
from common.errors import ConfigError, DataError
from common.recommenders.evidence import Evidence, Weights
from common.recommenders.recommender import Index, Recommender
from common.recommenders.state import trained_state

REASONS = 2
"""Items of the history that are named beside a recommendation, at most."""


class Recommending:
    """A client's recommender with its catalogue read, its item matrix made and its evidence weighed, once for all users.

    Parameters
    ----------
    recommender : Recommender
        The recommender with the client's adapter loaded, and its middle layers in place.
    holding : Holding
        The client's data.
    memory : Memory
        What the client kept from the run: its item matrix, if there is one.
    config : RunConfig
        Configuration of the run.
    rounds : int
        Rounds of the run.
    weights : Weights or None
        Weights of the client's own evidence, as they were chosen when the run ended; None chooses them now.
    base : callable
        What, entered, makes middle layers elsewhere compute without adapters.

    Raises
    ------
    RunError : the item matrix is frozen from a later round than the first, and ``memory`` has lost it.
    """

    def __init__(
        self,
        recommender: Recommender,
        holding: Holding,
        memory: Memory,
        config: RunConfig,
        rounds: int,
        weights: Weights | None = None,
        base: Base = nullcontext,
    ) -> None:
        self._recommender, self._holding, self._config = recommender, holding, config
        index = recommender.catalogue_index(holding.dataset.catalogue)
        self._shelf = Shelf(holding, index, _items(recommender, index, holding, memory, config, rounds, base))
        self._score = recommender_scorer(recommender, self._shelf)
        self._evidence = _evidence(self._scores, holding, config, weights)
        titles = holding.dataset.catalogue.titles
        # several items may share a title; nobody wants one again that they know under another id
        self._same_title: NDArray[np.int64] = np.unique(np.array(titles, dtype=object), return_inverse=True)[1]

    @property
    def client(self) -> str:
        """The client's name."""
        return self._holding.client

    @property
    def users(self) -> tuple[str, ...]:
        """The client's users, by their own ids."""
        return self._holding.dataset.interactions.user_keys

    def for_user(self, user: str = "", top: int = 10) -> Recommendations:
        """The ``top`` unseen items for one user, or for the user with the median history length where none is named.

        Raises
        ------
        DataError : the client has no such user.
        """
        lengths = np.diff(self._holding.dataset.interactions.offsets)
        position = self._positions([user])[0] if user else int(np.argsort(lengths, kind="stable")[len(lengths) // 2])
        return next(self._for_positions([position], top))

    def for_users(self, users: Sequence[str], top: int = 10) -> Iterator[Recommendations]:
        """The same for many users, one after another, ``evaluate.batch-size`` read at a time.

        Raises
        ------
        DataError : the client has no such user; nothing is computed then.
        """
        return self._for_positions(self._positions(users), top)

    def for_history(self, titles: Sequence[str], top: int = 10) -> Recommendations:
        """The ``top`` other items for somebody new, from titles, oldest first; nothing of it is stored.

        Raises
        ------
        ConfigError : there is no title. DataError : nothing in the catalogue is like one of them.
        """
        if not titles:
            raise ConfigError("the history is empty", "give at least one title")
        found = [self._finder.find(title) for title in titles]
        history = np.array([item for item, _ in found], np.int64)
        notes = tuple(note for _, note in found if note)
        return Recommendations(self.client, "", self._titles(history[::-1]), self._best([history], top)[0], notes)

    def _positions(self, users: Iterable[str]) -> list[int]:
        try:
            return [self._places[user] for user in users]
        except KeyError as error:
            first = self._holding.dataset.interactions.user_keys[0]
            raise DataError(
                f"client {self.client!r} has no user {error.args[0]!r}", f"the first is {first!r}"
            ) from None

    def _for_positions(self, positions: Sequence[int], top: int) -> Iterator[Recommendations]:
        interactions, batch = self._holding.dataset.interactions, self._config.evaluate.batch_size
        for start in range(0, len(positions), batch):
            rows = positions[start : start + batch]
            histories = [interactions.items[interactions.of_user(position)] for position in rows]
            for position, history, best in zip(rows, histories, self._best(histories, top), strict=True):
                user = interactions.user_keys[position]
                yield Recommendations(self.client, user, self._titles(history[::-1]), best)

    def _best(self, histories: Sequence[NDArray[np.integer]], top: int) -> list[tuple[Recommended, ...]]:
        blended = self._evidence.blend(self._scores(histories), histories)
        found = []
        for history, row in zip(histories, blended, strict=True):
            scores = torch.tensor(row, dtype=torch.float64)
            scores[torch.from_numpy(np.isin(self._same_title, self._same_title[history]))] = -torch.inf
            # what the model does not reach is no recommendation
            values, items = scores.topk(min(top, int(scores.isfinite().sum())))
            because = self._because(items, history)
            found.append(tuple(map(self._recommended, items.tolist(), values.tolist(), because)))
        return found

    def _recommended(self, item: int, score: float, because: tuple[str, ...]) -> Recommended:
        catalogue = self._holding.dataset.catalogue
        return Recommended(catalogue.keys[item], catalogue.titles[item], score, because)

    @torch.no_grad()
    def _because(self, items: Tensor, history: NDArray[np.integer]) -> list[tuple[str, ...]]:
        """Per item the nearest of the history that is read: by what each of it would score, read alone."""
        newest = history[-self._config.model.history :][::-1]
        _, first = np.unique(self._same_title[newest], return_index=True)
        read = newest[np.sort(first)]
        vectors, head = functional.normalize(self._shelf.items.float(), dim=-1), self._recommender.projection
        alone = head.users(vectors[torch.from_numpy(read.astype(np.int64))])
        near = alone @ head.items(vectors[items.to(vectors.device)]).T
        nearest = near.topk(min(REASONS, len(read)), dim=0).indices.T.tolist()
        return [self._titles(read[place] for place in row) for row in nearest]

    @torch.no_grad()
    def _scores(self, histories: Sequence[NDArray[np.integer]]) -> NDArray[np.float32]:
        return self._score(histories).float().cpu().numpy()

    def _titles(self, items: Iterable[int]) -> tuple[str, ...]:
        titles = self._holding.dataset.catalogue.titles
        return tuple(titles[item] for item in items)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {user: place for place, user in enumerate(self._holding.dataset.interactions.user_keys)}

    @cached_property
    def _finder(self) -> TitleFinder:
        return TitleFinder(self._holding.dataset.catalogue.titles)


def _evidence(score: Scorer, holding: Holding, config: RunConfig, weights: Weights | None) -> Evidence:
    if weights is None:
        return fitted_evidence(score, holding, config)
    catalogue = len(holding.dataset.catalogue)
    evidence = Evidence(config.evaluate.evidence, *holding.train_pairs(), catalogue, config.model.history)
    evidence.weights = weights
    return evidence


def _items(
    recommender: Recommender,
    index: Index,
    holding: Holding,
    memory: Memory,
    config: RunConfig,
    rounds: int,
    base: Base,
) -> Tensor:
    """The matrix that is served with, [n_items, H]; one that training moved is kept, told by what it is made of."""
    if not recommender.items_are_trained or frozen_in(config, rounds):
        return item_matrix(recommender, index, holding, memory, config, rounds, base)
    digest = hashlib.sha256(f"{index.digest} {config.evaluate.batch_size} {config.split.codec}".encode())
    for tensor in trained_state(recommender).values():
        digest.update(tensor.float().numpy().tobytes())
    name = f"served-{digest.hexdigest()[:32]}"
    kept = memory.load(name)
    if kept is None:
        kept = {"items": recommender.encode_items(index, config.evaluate.batch_size)}
        memory.save(name, kept)
    return kept["items"]
