"""What a client may report at most, from what it said of its data when it joined and from the run's own settings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from common.config import TrainConfig
from common.errors import MessageError
from common.messages import ClientFacts, EvaluateReport, TrainReport
from common.own_share import SHARES


@dataclass(frozen=True)
class ReportLimits:
    """Of one client, or of the pool of all.

    Attributes
    ----------
    examples : training examples of a round, over all its local epochs.
    users : users that anything is measured on.
    shares : the own shares that were offered.
    """

    examples: int
    users: int
    shares: tuple[float, ...] = (0.0,)

    @classmethod
    def of(cls, clients: Iterable[ClientFacts], train: TrainConfig, own_share: bool) -> ReportLimits:
        """Those of the clients together, with an own share or without.

        An example is one training interaction, or of the budget where there is one.
        """
        examples = users = 0
        for facts in clients:
            budget = train.examples or facts.train_interactions
            examples += min(budget, facts.train_interactions) * train.local_epochs
            users += facts.users
        return cls(examples, users, (0.0, *SHARES) if own_share else (0.0,))

    def check(self, report: TrainReport | EvaluateReport) -> None:
        """Refuses a report that claims more.

        Raises
        ------
        MessageError : naming the field, the value and the limit.
        """
        if report.share not in self.shares:
            raise MessageError(f"field 'share' = {report.share!r} was not offered", f"offered were {self.shares}")
        if isinstance(report, TrainReport):
            if not 1 <= report.examples <= self.examples:
                raise MessageError(
                    f"field 'num-examples' = {report.examples!r} is not within 1 and {self.examples!r}",
                    "what the client said of its data when it joined, and 'train.examples', allow no more",
                )
            rankings = {"validation": report.validation}
        else:
            rankings = dict(report.rankings)
        for name, ranking in rankings.items():
            if ranking.users > self.users:
                raise MessageError(
                    f"field '{name}.users' = {ranking.users!r} is beyond {self.users!r}",
                    "the client joined with so many users",
                )
