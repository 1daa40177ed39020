"""What one client holds: its data set with train, valid and test parts. None of it leaves the client."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from common.config import RunConfig
from common.data.coverage import Coverage
from common.data.dataset import Dataset
from common.data.split import Cases, Part, TrainingExamples, cases, split, training_examples
from common.errors import DataError
from common.messages import ClientFacts, SetFacts
from common.seeds import derive


@dataclass(frozen=True)
class Holding:
    """One client's data set; its name for the federation is ``client``."""

    client: str
    dataset: Dataset

    @property
    def parts(self) -> NDArray[np.int8]:
        """The part of every interaction, int8 [n]; a data set that is not split is refused by DataError."""
        if self.dataset.parts is None:
            raise DataError(f"client {self.client!r}: data are not split", "load them by Holding.load")
        return self.dataset.parts

    @classmethod
    def load(cls, client: str, folder: Path, how: str) -> Holding:
        """Reads a client's folder; a data set that is not split yet is split as ``how`` says.

        Raises
        ------
        DataError : the folder is missing or damaged, is split in another way, or holds nothing to learn from.
        """
        dataset = Dataset.load(folder)
        if dataset.parts is None:
            parts = split(dataset.interactions, how)
            dataset = Dataset(
                dataset.name,
                dataset.catalogue,
                dataset.interactions,
                dataset.generated,
                dataset.licence,
                dataset.source,
                parts,
                how,
            )
        if dataset.split != how:
            raise DataError(
                f"client {client!r}: data are split by {dataset.split!r}, the run asks for {how!r}", "prepare them anew"
            )
        train = dataset.interactions.users[dataset.parts == Part.TRAIN]
        if not len(train) or np.bincount(train).max() < 2:
            raise DataError(
                f"client {client!r} has no user with two training interactions",
                "give it more data, or another 'data.split'",
            )
        return cls(client, dataset)

    def facts(self, groups: tuple[int, ...] = ()) -> ClientFacts:
        """The counts that the server may know, and the client's value of every grouping attribute."""
        data = self.dataset
        coverage = Coverage.of(data.interactions, self.parts)
        return ClientFacts(
            client=self.client,
            set=SetFacts(data.catalogue.name, data.catalogue.digest, len(data.catalogue), data.generated, data.split),
            digest=data.digest,
            users=len(np.unique(data.interactions.users)),
            interactions=len(data.interactions),
            train_interactions=int((self.parts == Part.TRAIN).sum()),
            test_users=coverage.tested,
            met_before=coverage.met_before,
            groups=groups,
        )

    def train_pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Users and items of the training interactions, int32 each."""
        train = self.parts == Part.TRAIN
        return self.dataset.interactions.users[train], self.dataset.interactions.items[train]

    def examples(self, config: RunConfig, round_number: int) -> TrainingExamples:
        """The training examples of a round, drawn from the run's seed, the client's name and (resampling) the round."""
        draw = (round_number,) if config.train.resample else ()
        seed = derive(config.seed, "examples", self.client, *draw)
        data = self.dataset
        found = training_examples(data.interactions, self.parts, config.model.history, config.train.examples, seed)
        if len(found) == 0:
            raise DataError(
                f"client {self.client!r}: no user has two training interactions", "give it longer histories"
            )
        return found

    def cases(self, part: Part, limit: int, seed: int) -> Cases:
        """Evaluation cases of a part; the same users in every round, so that rounds compare."""
        chosen = derive(seed, "cases", self.client, int(part))
        return cases(self.dataset.interactions, self.parts, part, limit, chosen)
