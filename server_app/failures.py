"""What a client's error reply says, in one line: a process that was killed is told as such, and nothing of other processes."""

from __future__ import annotations

import re

from flwr.app import Error

from common.errors import (
    ConfigError,
    DataError,
    FellrecError,
    MessageError,
    ModelError,
    OutboxError,
    RunError,
    SplitError,
)
from common.line import line

LONGEST = 300
"""Characters of a reason that are kept; what a client sends may be of any length."""

CRASHED = 8
"""Flower's code for a ClientApp whose process has ended without an answer."""

_OWN = {
    int(kind.code[2:]): kind
    for kind in (ConfigError, DataError, ModelError, MessageError, OutboxError, RunError, SplitError)
}
_RAN_OUT = re.compile(r"OutOfMemoryError|low on memory|memory usage threshold")
_AMOUNT = re.compile(r"\d+(?:\.\d+)?GB / \d+(?:\.\d+)?GB")
_DIED = re.compile(r"(?:ActorDied|WorkerCrashed|ActorUnavailable|NodeDied)Error")
_REMEDY = (
    "give it more memory or less to do: fewer clients at a time (--cpus), a lower train.batch-size or model.max-tokens; "
    "nothing replaces a worker of a simulation that has died: start again with resume = true"
)


def failure(error: Error, who: str) -> FellrecError:
    """The error that a reply stands for.

    A code of fellrec's own gives the error that the client raised. Ray's account of a worker that died names every large
    process of that machine with its command line, so of that only the fact and the amounts are kept.

    Parameters
    ----------
    who : the client or node, as the message names it.
    """
    reason = str(error.reason)
    if _RAN_OUT.search(reason):
        amount = _AMOUNT.search(reason)
        used = f" ({amount[0]} in use)" if amount else ""
        return RunError(f"{who} failed: its process was killed, for its machine ran out of memory{used}", _REMEDY)
    if error.code == CRASHED or _DIED.search(reason):
        return RunError(f"{who} failed: its process died without a word, most often killed for lack of memory", _REMEDY)
    if error.code in _OWN:
        kind = _OWN[error.code]
        return kind(f"{who} failed: {_line(reason).removeprefix(f'[{kind.code}] ')}")
    return MessageError(f"{who} failed: code {error.code}, {_line(reason)}", "see its log")


def _line(text: str) -> str:
    return line(next(iter(text.strip().splitlines()), ""), LONGEST)
