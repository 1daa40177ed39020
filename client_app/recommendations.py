"""What is recommended, and what every client's recommender answers to, whatever its model reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Recommended:
    """One item.

    Attributes
    ----------
    key : the source's own item id. title : of a click model's item, its key and what the log knows of it. score : higher is
        better, comparable within one list only; of a click model, the probability of a click. because : titles of the
        history that lie nearest to it, nearest first: what it is alike, not an account of the score; a click model has none.
    """

    key: str
    title: str
    score: float
    because: tuple[str, ...]


@dataclass(frozen=True)
class Recommendations:
    """A history, newest first, and what is recommended, best first.

    Attributes
    ----------
    user : the user's own id; '' for somebody whose history was given. notes : titles that were read as others.
    """

    client: str
    user: str
    history: tuple[str, ...]
    recommended: tuple[Recommended, ...]
    notes: tuple[str, ...] = ()


class Recommends(Protocol):
    """A client's recommender, made ready once for all requests."""

    @property
    def client(self) -> str:
        """The client's name."""
        ...

    @property
    def users(self) -> Sequence[str]:
        """The client's users, by their own ids."""
        ...

    def for_user(self, user: str = "", top: int = 10) -> Recommendations:
        """The ``top`` items for one user that it has not met; '' takes one.

        Raises
        ------
        DataError : the client has no such user.
        """
        ...

    def for_users(self, users: Sequence[str], top: int = 10) -> Iterator[Recommendations]:
        """The same for many users, one after another.

        Raises
        ------
        DataError : the client has no such user; nothing is computed then.
        """
        ...

    def for_history(self, titles: Sequence[str], top: int = 10) -> Recommendations:
        """The ``top`` other items for somebody new, from titles, oldest first; nothing of it is stored.

        Raises
        ------
        ConfigError : there is no title, or the model reads none. DataError : nothing in the catalogue is like one of them.
        """
        ...
