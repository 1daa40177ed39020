"""Messages out, replies in: each reply is matched to its message and handed on as it arrives."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from flwr.app import Message
from flwr.serverapp import Grid

PAUSE = 0.2
"""Seconds between two looks for replies."""


@dataclass(frozen=True)
class Stragglers:
    """Once ``enough`` replies are here, the rest get ``factor`` times as long as these took, and ``least`` seconds anyway."""

    enough: int
    factor: float
    least: float = 30.0


def exchange(
    grid: Grid,
    messages: Iterable[Message],
    timeout: float,
    arrived: Callable[[Message], None] | None = None,
    stragglers: Stragglers | None = None,
) -> list[Message]:
    """Sends the messages and waits for their replies, ``timeout`` seconds at most.

    A client that stays silent gives no reply at all; who is missing is for the caller to tell. Replies come in the order
    of their arrival.
    """
    waiting = {identity for identity in grid.push_messages(list(messages)) if identity}
    began = time.monotonic()
    deadline = began + timeout
    replies: list[Message] = []
    while waiting and time.monotonic() < deadline:
        fresh = list(grid.pull_messages(sorted(waiting)))
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
