"""A run's client, ready to recommend."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from common.errors import ConfigError
from common.run_folder import RunFolder
from fellrec.deferred import Deferred
from fellrec.python.rows import Rows

if TYPE_CHECKING:
    from client_app.recommendations import Recommendations, Recommends

if TYPE_CHECKING:
    from fellrec import recommending as recommenders
else:
    recommenders = Deferred("fellrec.recommending")


class Recommender:
    """The recommender of a client: a context manager, or an object to :meth:`close`.

    Made by :meth:`fellrec.Run.recommender`, which says what its parameters are.
    """

    def __init__(
        self,
        folder: RunFolder,
        client: str = "",
        *,
        data: str | os.PathLike[str] | None = None,
        service: str = "",
        token: str | os.PathLike[str] | None = None,
        root_certificate: str = "",
        certificate: str = "",
        key: str = "",
    ) -> None:
        at = None
        if service:
            kept = None if token is None else Path(token)
            at = recommenders.ServiceAt(service, kept, root_certificate, certificate, key)
        elif token is not None or root_certificate or certificate or key:
            raise ConfigError(
                "'token', 'root_certificate', 'certificate' and 'key' are for a service, but 'service' is ''",
                "give service='host:port' too",
            )
        self._stack = ExitStack()
        self._folder, place = folder, None if data is None else Path(data)
        self._ready: Recommends = self._stack.enter_context(recommenders.recommending(folder, client, at, place))

    def __enter__(self) -> Recommender:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends its connections, where it has some."""
        self._stack.close()

    @property
    def client(self) -> str:
        """The client's name."""
        return self._ready.client

    @property
    def users(self) -> list[str]:
        """The client's users, by their own ids."""
        return list(self._ready.users)

    def recommend(
        self, *, user: str | int | None = None, history: str | Sequence[str] | None = None, top: int = 10
    ) -> Rows:
        """The ``top`` unseen items for a user, or for somebody new; best first.

        A row has ``place``, ``key`` (the source's own item id), ``title``, ``score`` (comparable within one list only) and
        ``because`` (titles of the history that lie nearest to it). Of a click model ``title`` is the key with what the log
        knows of the item, ``score`` the probability of a click, and ``because`` empty; the client is its one user.

        Parameters
        ----------
        user : str or int, optional
            The user's own id; without it and a history, one of median activity.
        history : str or sequence of str, optional
            Titles that somebody new has met, oldest first; nothing of it is stored. A title that is read as another one is a
            ``UserWarning``.
        top : int
            Number of items, at least 1.

        Raises
        ------
        ConfigError : both a user and a history, an empty history, a history for a click model, or ``top`` below 1.
        DataError : no such user, or nothing in the catalogue is like a title.
        """
        found = self._found(user, history, top)
        for note in found.notes:
            warnings.warn(note, UserWarning, stacklevel=2)
        return Rows({"place": place, **asdict(item)} for place, item in enumerate(found.recommended, 1))

    def history(self, user: str | int) -> list[str]:
        """The titles of a user's history, newest first.

        Raises
        ------
        DataError : the client has no such user.
        """
        return list(self._ready.for_user(str(user), 1).history)

    def _found(self, user: str | int | None, history: str | Sequence[str] | None, top: int) -> Recommendations:
        if top < 1:
            raise ConfigError(f"'top' is {top!r}", "give 1 or more")
        if user is not None and history is not None:
            raise ConfigError("'user' and 'history' were given together", "give one of them")
        if history is not None:
            return self._ready.for_history([history] if isinstance(history, str) else list(history), top)
        return self._ready.for_user("" if user is None else str(user), top)

    def __repr__(self) -> str:
        return f"<fellrec recommender of client {self.client!r} from run {self._folder.name!r}>"
