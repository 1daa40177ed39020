"""How the server reaches nodes: who is there, and messages out with their replies in."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from flwr.app import Message
from flwr.serverapp import Grid

PAUSE = 0.2
"""Seconds between two looks for replies."""


@dataclass(frozen=True)
class Stragglers:
    """How long the rest may take once enough replies are here.

    Attributes
    ----------
    enough : int
        Replies from which on the others are stragglers.
    factor : float
        How many times as long as these took the rest get.
    least : float
        Seconds that they get anyway.
    """

    enough: int
    factor: float
    least: float = 30.0


class Transport(Protocol):
    """All that a run asks of what carries its messages."""

    def nodes(self) -> set[int]:
        """The nodes that are there now."""

    def ask(
        self,
        messages: Iterable[Message],
        timeout: float,
        arrived: Callable[[Message], object] | None = None,
        stragglers: Stragglers | None = None,
    ) -> list[Message]:
        """The replies to these messages, in the order of their arrival; a node that stays silent gives none.

        Parameters
        ----------
        messages : Iterable[Message]
            Messages to send.
        timeout : float
            Seconds that the replies may take at most.
        arrived : callable or None
            Called with each reply as it comes.
        stragglers : Stragglers or None
            When to wait no longer for the last ones.
        """


class FlowerTransport:
    """Flower's Grid."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid

    def nodes(self) -> set[int]:
        return set(self._grid.get_node_ids())

    def ask(
        self,
        messages: Iterable[Message],
        timeout: float,
        arrived: Callable[[Message], object] | None = None,
        stragglers: Stragglers | None = None,
    ) -> list[Message]:
        waiting = {identity for identity in self._grid.push_messages(list(messages)) if identity}
        began = time.monotonic()
        deadline = began + timeout
        replies: list[Message] = []
        while waiting and time.monotonic() < deadline:
            fresh = list(self._grid.pull_messages(sorted(waiting)))
            for reply in fresh:
                waiting.discard(reply.metadata.reply_to_message_id)
                if arrived is not None:
                    arrived(reply)
            replies += fresh
            if fresh and stragglers is not None and len(replies) >= stragglers.enough:
                taken = time.monotonic() - began
                deadline = min(deadline, began + taken + max(stragglers.least, stragglers.factor * taken))
                stragglers = None
            if waiting and not fresh:
                time.sleep(PAUSE)
        return replies
