"""What a client may report at most, from what it said of its data when it joined and from the run's own settings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from common.config import TrainConfig
from common.errors import MessageError
from common.messages import ClientFacts
from common.own_share import SHARES


@dataclass(frozen=True)
class ReportLimits:
    """Of one client, or of the pool of all.

    Attributes
    ----------
    examples : int
        Training examples of a round, over all its local epochs.
    cases : int
        Users or rows that anything is measured on.
    shares : tuple of float
        Own shares that were offered.
    """

    examples: int
    cases: int
    shares: tuple[float, ...] = (0.0,)

    @classmethod
    def of(
        cls, clients: Iterable[ClientFacts], train: TrainConfig, own_share: bool, people: bool = False
    ) -> ReportLimits:
        """Those of the clients together.

        Parameters
        ----------
        clients : Iterable[ClientFacts]
            What each told when it joined.
        train : TrainConfig
            Budget: an example is one training interaction, or of the budget where there is one. A person's rows are all
            read in every epoch, and count once.
        own_share : bool
            Whether an own share was offered.
        people : bool
            Whether a client is one person, who is measured row by row.
        """
        examples = cases = 0
        for facts in clients:
            budget = train.examples or facts.train_interactions
            if people:
                examples += max(1, facts.train_interactions)
            else:
                examples += min(budget, facts.train_interactions) * train.local_epochs
            cases += facts.interactions if people else facts.users
        return cls(examples, cases, (0.0, *SHARES) if own_share else (0.0,))

    def check_size(self, size: float) -> None:
        """Refuses a number of training examples that cannot be.

        Raises
        ------
        MessageError : naming the field, the value and the limit.
        """
        if not 1 <= size <= self.examples:
            raise MessageError(
                f"field 'sizes' holds {size!r}, not within 1 and {self.examples!r}",
                "what the client said of its data when it joined, and 'train.examples', allow no more",
            )

    def check_share(self, share: float) -> None:
        """Refuses an own share that was not offered; raises MessageError."""
        if share not in self.shares:
            raise MessageError(f"field 'shares' holds {share!r}, which was not offered", f"offered were {self.shares}")

    def check_cases(self, field: str, cases: int) -> None:
        """Refuses a measurement on more users or rows than the client joined with; raises MessageError."""
        if cases > self.cases:
            raise MessageError(
                f"field {field!r} holds {cases!r}, beyond {self.cases!r}", "the client joined with so many"
            )
