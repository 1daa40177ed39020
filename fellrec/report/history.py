"""A run's history, event by event: what the report and the live page draw.

A log may come from another machine or another release, and holds what clients said. So an event that lacks what it should
have is counted and left out; it never ends the reading.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from common.errors import RunError
from common.events import (
    Away,
    Event,
    Joined,
    Measuring,
    Refused,
    Rejected,
    Replied,
    Resumed,
    RoundEnded,
    RoundStarted,
    RunEnded,
    RunFailed,
    RunStarted,
    StoppedEarly,
    StrategyChosen,
    Validated,
    Warned,
    parse,
)
from fellrec.report.entries import ClientRound, Member, Round, Trouble, Validation, named
from fellrec.report.numbers import real, reals

DRAWN = (RunStarted, StrategyChosen, Joined, Resumed, RoundStarted, Validated, RoundEnded, RunEnded)
"""Events that change pictures."""

ROUNDS = 1_000_000
"""Above any number of rounds."""


class History:
    """What the events so far say.

    Attributes
    ----------
    state : ``waiting`` (nothing has been said), ``starting``, ``training``, ``measuring``, ``ended`` or ``failed``.
    of : rounds that the run is to have, None until it says so. rounds, validations : by their number.
    unreadable : events that were left out. changes : events that change pictures, so that an equal number needs no new ones.
    """

    def __init__(self) -> None:
        self.run, self.state, self.reason = "", "waiting", ""
        self.began: float | None = None
        self.last: float | None = None
        self.of: int | None = None
        self.strategy = StrategyChosen(name="")
        self.members: dict[str, Member] = {}
        self.rounds: dict[int, Round] = {}
        self.validations: dict[int, Validation] = {}
        self.troubles: list[Trouble] = []
        self.unreadable = 0
        self.changes = 0
        self._pace: tuple[float, int] | None = None
        self._ended_at: float | None = None

    @classmethod
    def of_events(cls, events: Iterable[Any]) -> History:
        """The history that a whole log tells."""
        history = cls()
        for event in events:
            history.add(event)
        return history

    def add(self, line: Any) -> None:
        """Takes in one line of a log; kinds that are not known change nothing but the time of the last event."""
        try:
            event = parse(line)
            if event is not None:
                self._take(event)
            self.last = real(line.get("time")) or self.last
            self.changes += isinstance(event, DRAWN)
        except (RunError, KeyError, TypeError, ValueError, AttributeError, OverflowError):
            self.unreadable += 1

    def left(self) -> float | None:
        """Seconds that the rounds to come take at the pace so far, from the last round's end; None before one ended."""
        ended = [number for number, entry in self.rounds.items() if entry.ended]
        if not ended or self._pace is None or self._ended_at is None or self.of is None or self.state != "training":
            return None
        began, first = self._pace
        done = max(ended) - first + 1
        return (self._ended_at - began) / done * (self.of - max(ended)) if done > 0 else None

    def clients(self) -> list[str]:
        """All clients that the log names as members or as taking part, sorted."""
        taking = {client for entry in self.rounds.values() for client in (*entry.invited, *entry.clients)}
        return sorted(taking | set(self.members))

    def whole_rounds(self) -> list[Round]:
        """The rounds that ended, in their order."""
        return [entry for _, entry in sorted(self.rounds.items()) if entry.ended]

    def _take(self, event: Event) -> None:
        match event:
            case RunStarted(run=run, time=time):
                self.run, self.state, self.reason = run, "starting", ""
                self.began = self.began or real(time)
                self._pace, self._ended_at = None, None
            case StrategyChosen():
                self.strategy = event
            case Joined():
                self._joined(event)
            case Away():
                self._away(event)
            case Resumed(round=kept):
                kept = _number(kept)
                self.rounds = {number: entry for number, entry in self.rounds.items() if number <= kept}
                self.validations = {number: found for number, found in self.validations.items() if number <= kept}
                self._note(event, "resumed", "", f"went on after round {kept}")
            case RoundStarted():
                self._round_started(event)
            case Replied(round=number, clients=clients, ok=ok):
                if self.state == "training":
                    entry = self.rounds[_number(number)]
                    entry.answered |= dict.fromkeys(map(str, clients), ok)
                    entry.replies += 1
            case Validated():
                number = _number(event.round)
                means, own = reals(event.means), reals(event.clients)
                self.validations[number] = Validation(number, means, own, reals(event.balance))
            case RoundEnded():
                self._round_ended(event)
            case _:
                self._trouble(event)

    def _joined(self, event: Joined) -> None:
        for name, told in event.clients.items():
            self.members[str(name)] = Member(
                str(name),
                real(told.get("users")),
                real(told.get("items")),
                real(told.get("train_interactions")),
                str(told.get("dataset", "")),
            )
        if event.back:
            self._note(event, "back", _who(event.back), "here again")

    def _away(self, event: Away) -> None:
        for name in event.clients:
            if name in self.members:
                self.members[name].here = False
        self._note(event, "away", _who(event.clients), "the node left")

    def _round_started(self, event: RoundStarted) -> None:
        number, self.of, self.state = _number(event.round), _number(event.of), "training"
        self.rounds[number] = Round(number, tuple(map(str, event.clients)), event.messages, real(event.quorum))
        began = real(event.time)
        if self._pace is None and began is not None:
            self._pace = began, number

    def _round_ended(self, event: RoundEnded) -> None:
        number = _number(event.round)
        entry = self.rounds.setdefault(number, Round(number))
        entry.ended, entry.void, entry.loss = True, event.void, real(event.loss)
        entry.seconds, entry.failed = reals(event.seconds), named(event.clients_failed)
        entry.weights = {str(receiver): reals(row) for receiver, row in event.weights.items()}
        entry.clients = {
            str(client): ClientRound(
                real(found.get("loss")),
                real(found.get("size")),
                real(found.get("share")),
                real(found.get("heat")),
                reals(found.get("seconds")),
                reals(found.get("bytes")),
                real(found.get("proportion")),
            )
            for client, found in event.clients.items()
        }
        self._ended_at = real(event.time)
        if event.void:
            self._note(event, "void", "", "fewer clients than the quorum answered; nothing was mixed", grave=True)

    def _trouble(self, event: Event) -> None:
        match event:
            case Rejected(code=code, clients=clients, reason=reason):
                self._note(event, code, _who(clients), reason, grave=True)
            case Refused(code=code, node=node, reason=reason):
                self._note(event, code, f"node {node}", reason, grave=True)
            case Warned(kind=kind, client=client, reason=reason, hint=hint):
                self._note(event, kind, client, reason, hint)
            case StoppedEarly(patience=patience):
                self._note(event, "stopped early", "", f"validation has not got better for {patience} rounds")
            case Measuring():
                self.state = "measuring"
            case RunFailed(code=code, reason=reason):
                self.state, self.reason = "failed", reason
                self._note(event, code, "the run", reason, grave=True)
            case RunEnded():
                self.state = "ended"

    def _note(self, event: Event, kind: str, who: str, reason: str, hint: str = "", grave: bool = False) -> None:
        number = getattr(event, "round", None)
        self.troubles.append(Trouble(kind, who, reason, hint, number, real(event.time), grave))


def _who(clients: Sequence[str]) -> str:
    return str(clients[0]) if len(clients) == 1 else f"{len(clients)} clients"


def _number(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= ROUNDS:
        raise ValueError(f"{value!r} is no round")
    return value
