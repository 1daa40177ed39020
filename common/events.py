"""The event log of a run: JSON lines, the one truth that progress, report, live page, metrics and trackers read.

Every kind of event is a class here. A line is ``{"event": kind, "time": seconds since the epoch, ...fields}``; readers
parse it back and match on the class. No event asks what kind of model runs.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar

from common.errors import RunError
from common.files import on_disk


@dataclass(frozen=True)
class Event:
    """Something that happened; ``time`` is in seconds since the epoch, set when it is written."""

    KIND: ClassVar[str] = ""
    time: float = field(default=0.0, kw_only=True)


@dataclass(frozen=True)
class RunStarted(Event):
    """The run has a folder."""

    KIND = "run_started"
    run: str
    folder: str
    flower_run: str = ""


@dataclass(frozen=True)
class StrategyChosen(Event):
    """What is mixed and how.

    Attributes
    ----------
    name : str
        Name of the strategy.
    scopes : Mapping[str, list]
        Names of the tensors by scope.
    rules : Mapping[str, str]
        Rule of each mixed scope.
    groups : Mapping[str, int]
        Number of values of every grouping attribute.
    heating, pacing, own_share, pooled : bool
        What else a round does.
    guard : Mapping[str, float] or None
        How far a contribution may be out of proportion; None where nobody is guarded.
    noise : Mapping[str, Any] or None
        Noise on every contribution.
    """

    KIND = "strategy"
    name: str
    scopes: Mapping[str, list[str]] = field(default_factory=dict)
    rules: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, int] = field(default_factory=dict)
    heating: bool = False
    pacing: bool = False
    own_share: bool = False
    pooled: bool = False
    guard: Mapping[str, float] | None = None
    noise: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Joined(Event):
    """A node's clients are here: by name what each told of its data; ``back`` are those that were known before."""

    KIND = "joined"
    clients: Mapping[str, Mapping[str, Any]]
    back: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Away(Event):
    """A node has left, and its clients with it."""

    KIND = "away"
    clients: list[str]


@dataclass(frozen=True)
class Refused(Event):
    """A node does not take part."""

    KIND = "refused"
    node: str
    code: str
    reason: str


@dataclass(frozen=True)
class Resumed(Event):
    """The run goes on after a round; ``void`` later ones are held anew."""

    KIND = "resumed"
    round: int
    void: int = 0


@dataclass(frozen=True)
class RoundStarted(Event):
    """A round of ``of``: who is invited, in how many messages, and how many clients must answer."""

    KIND = "round_started"
    round: int
    of: int
    clients: list[str]
    quorum: int
    messages: int


@dataclass(frozen=True)
class Replied(Event):
    """The answer to one message has come."""

    KIND = "replied"
    round: int
    clients: list[str]
    ok: bool


@dataclass(frozen=True)
class Rejected(Event):
    """Clients are left out of a round."""

    KIND = "rejected"
    round: int
    clients: list[str]
    code: str
    reason: str


@dataclass(frozen=True)
class Warned(Event):
    """Something that an operator should look at."""

    KIND = "warning"
    round: int
    client: str
    kind: str
    reason: str
    hint: str = ""


@dataclass(frozen=True)
class Validated(Event):
    """What the models after ``round`` (0: before training) achieve on validation data.

    Attributes
    ----------
    round : int
        Number of the round.
    metric : str
        Metric by which rounds are compared.
    means : Mapping[str, Any]
        Every metric, of all clients together.
    balance : Mapping[str, float]
        How evenly the metric falls on clients.
    clients : Mapping[str, float]
        Metric of each client.
    """

    KIND = "validated"
    round: int
    metric: str
    means: Mapping[str, Any]
    balance: Mapping[str, float]
    clients: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class RoundEnded(Event):
    """What a round came to.

    Attributes
    ----------
    round : int
        Number of the round.
    seconds : Mapping[str, float]
        Seconds to ``train``, ``aggregate`` and ``evaluate``.
    loss : float or None
        Mean training loss; None where nobody told one.
    clients_ok : int
        Clients whose contribution was taken.
    clients_failed : Mapping[str, str]
        Reason or code of the others.
    void : bool
        Whether too few answered, so that nothing changed.
    clients : Mapping[str, Mapping[str, Any]]
        What each of these reported: ``loss``, ``size``, ``share``, ``heat``, ``proportion``, ``bytes``.
    weights : Mapping[str, Mapping[str, float]]
        Mixing matrix by receiver and sender; of many clients only each one's own weight and its largest.
    participants : Mapping[str, list]
        Clients that counted in every group, by attribute.
    nodes : Mapping[str, float]
        Seconds of the slowest node, by what it did.
    """

    KIND = "round_ended"
    round: int
    seconds: Mapping[str, float]
    loss: float | None
    clients_ok: int
    clients_failed: Mapping[str, str]
    void: bool
    clients: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    weights: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    participants: Mapping[str, list[int]] = field(default_factory=dict)
    nodes: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class StoppedEarly(Event):
    """Validation has not got better for ``patience`` rounds."""

    KIND = "stopped_early"
    round: int
    patience: int


@dataclass(frozen=True)
class Measuring(Event):
    """The result is being measured by these clients."""

    KIND = "measuring"
    clients: list[str]


@dataclass(frozen=True)
class RunFailed(Event):
    """The run has ended without a result."""

    KIND = "run_failed"
    code: str
    reason: str


@dataclass(frozen=True)
class RunEnded(Event):
    """The run has a result, told as a few lines of text."""

    KIND = "run_ended"
    table: list[str] = field(default_factory=list)
    result: str = ""


KINDS: dict[str, type[Event]] = {kind.KIND: kind for kind in Event.__subclasses__()}
"""The kinds of events by their names in a log."""

ENDED = (RunEnded, RunFailed)


def parse(line: Mapping[str, Any]) -> Event | None:
    """The event of a line of a log; fields that are not known are left out. None for a kind that is not known.

    Raises
    ------
    RunError : a field is missing or of another form.
    """
    kind = KINDS.get(str(line.get("event")))
    if kind is None:
        return None
    known = {one.name: one for one in fields(kind)}
    found = {name: line[name] for name in known if name in line}
    for name, value in found.items():
        if not _fits(str(known[name].type), value):
            raise RunError(f"event {kind.KIND!r} has {name!r} = {str(value)[:40]!r}", "leave that line out")
    try:
        return kind(**found)
    except TypeError as error:
        raise RunError(f"event {kind.KIND!r} lacks a field: {error}", "leave that line out") from error


def as_line(event: Event) -> dict[str, Any]:
    """The event as it stands in a log."""
    content = {one.name: getattr(event, one.name) for one in fields(event) if one.name != "time"}
    line: dict[str, Any] = _finite({"event": event.KIND, "time": event.time, **content})
    return line


class EventLog:
    """Appends events to ``events.jsonl``, and passes them to its listeners.

    A field that is not finite is written as null: a log must stay readable when a client sends nonsense.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._listeners: list[Callable[[Event], None]] = []
        with on_disk(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists():
                _drop_half_line(path)

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Calls ``listener`` with every later event."""
        self._listeners.append(listener)

    def write(self, event: Event) -> None:
        """Appends one event; the line is on its way to the disk when this returns.

        Raises
        ------
        RunError : it cannot be written; the listeners get it all the same.
        """
        object.__setattr__(event, "time", round(self._clock(), 3))
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(as_line(event), ensure_ascii=False) + "\n")
        except OSError as error:
            raise RunError(
                f"the event log {str(self._path)!r} cannot be written: {error}",
                "make room there, then set resume = true to go on after the last whole round",
            ) from error
        finally:
            for listener in self._listeners:
                listener(event)


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a log in order; a last one that is still being written is left out.

    Raises
    ------
    RunError : a line is no event, or the file cannot be read.
    """
    with on_disk(path), path.open(encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith("\n"):
                return
            try:
                event = json.loads(line)
            except (ValueError, RecursionError):
                event = None
            if not isinstance(event, dict):
                raise RunError(f"the event log {str(path)!r} is damaged in line {number}", "take that line out")
            yield event


def read_events(path: Path) -> Iterator[Event]:
    """The events of a log in order, without kinds that this release does not know.

    Raises
    ------
    RunError : a line is no event, or the file cannot be read.
    """
    for line in read_lines(path):
        event = parse(line)
        if event is not None:
            yield event


_SIMPLE: dict[str, type | tuple[type, ...]] = {"str": str, "bool": bool, "int": int, "float": (int, float)}


def _fits(annotation: str, value: Any) -> bool:
    """Whether a value read from JSON is of an annotated form, as far as readers rely on it."""
    if value is None:
        return "None" in annotation
    base = re.split(r"[\[ ]", annotation)[0]
    if base in _SIMPLE:
        return isinstance(value, _SIMPLE[base]) and not (base != "bool" and isinstance(value, bool))
    return isinstance(value, list if base == "list" else dict)


def _drop_half_line(path: Path) -> None:
    """Takes off what a process that died left of its last line, so that the next one begins on its own."""
    with path.open("rb+") as file:
        content = file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            file.truncate(whole)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
