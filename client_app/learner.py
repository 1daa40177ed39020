"""What learns on a node: one client's language model, or the small click models of many clients at once.

Both answer the same three questions; how they train and measure is theirs (:mod:`client_app.text_learner`,
:mod:`client_app.click_learner`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, Self

from client_app.learned import Learned, Measured
from client_app.memory import Memory
from common.scopes import Scope


class Learner(Protocol):
    """Clients of one model, for one task; a context, so that its connections end.

    Attributes
    ----------
    clients : tuple of str
        Clients, in the order of all that is stacked.
    scopes : Mapping[str, Scope]
        Scope of every trained tensor.
    memories : Sequence[Memory]
        What each client keeps.
    """

    @property
    def clients(self) -> tuple[str, ...]: ...

    @property
    def scopes(self) -> Mapping[str, Scope]: ...

    @property
    def memories(self) -> Sequence[Memory]: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *failure: object) -> None: ...

    def validate(self) -> Measured:
        """Puts the models that the round begins with in their place, and measures them on validation data."""

    def train(self) -> Learned:
        """Trains them, and keeps what is private."""

    def evaluate(self) -> Measured:
        """Measures the final models, and what they are held against, on test data."""
