"""A run's history, event by event: what the report and the live page draw.

A log may come from another machine or another release, and holds what clients said. So an event that lacks what it should
have is counted and left out; it never ends the reading.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from fellrec.report.entries import ClientRound, Member, Round, Trouble, Validation, named
from fellrec.report.names import primary
from fellrec.report.numbers import real, reals

DRAWN = (
    "run_started",
    "strategy",
    "joined",
    "back",
    "resumed",
    "round_started",
    "validated",
    "round_ended",
    "run_ended",
)


ROUNDS = 1_000_000
"""Above any number of rounds."""


class History:
    """What the events so far say.

    Attributes
    ----------
    state : ``waiting`` (nothing has been said), ``starting``, ``training``, ``measuring``, ``ended`` or ``failed``.
    of : rounds that the run is to have, None until it says so. rounds, validations : by their number.
    crowd : clients that are present through nodes of many; they have no members of their own.
    unreadable : events that were left out. changes : events that change pictures, so that an equal number needs no new ones.
    """

    def __init__(self) -> None:
        self.run, self.state, self.reason = "", "waiting", ""
        self.began: float | None = None
        self.last: float | None = None
        self.of: int | None = None
        self.strategy: dict[str, Any] = {}
        self.members: dict[str, Member] = {}
        self.rounds: dict[int, Round] = {}
        self.validations: dict[int, Validation] = {}
        self.troubles: list[Trouble] = []
        self.crowd = 0
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

    def add(self, event: Any) -> None:
        """Takes in one event; kinds that are not known change nothing but the time of the last event."""
        try:
            tell: Callable[[Mapping[str, Any]], None] | None = getattr(self, f"_on_{event['event']}", None)
            if tell is not None:
                tell(event)
            self.last = real(event.get("time")) or self.last
            self.changes += event["event"] in DRAWN
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
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

    def _on_run_started(self, event: Mapping[str, Any]) -> None:
        self.run, self.state, self.reason = str(event["run"]), "starting", ""
        self.began = self.began or real(event["time"])
        self._pace, self._ended_at = None, None

    def _on_joined(self, event: Mapping[str, Any]) -> None:
        name = str(event["client"])
        self.members[name] = Member(
            name, real(event.get("users")), real(event.get("items")), real(event.get("train_interactions")),
            str(event.get("dataset", "")),
        )  # fmt: skip

    def _on_back(self, event: Mapping[str, Any]) -> None:
        self._on_joined(event)
        self._note(event, "back", event["client"], "it is here again")

    def _on_away(self, event: Mapping[str, Any]) -> None:
        name = str(event["client"])
        if name in self.members:
            self.members[name].here = False
        self._note(event, "away", name, "its node left")

    def _on_crowd_joined(self, event: Mapping[str, Any]) -> None:
        self.crowd += int(real(event["clients"]) or 0)

    def _on_crowd_away(self, event: Mapping[str, Any]) -> None:
        gone = int(real(event["clients"]) or 0)
        self.crowd -= gone
        self._note(event, "away", f"a node of {gone} clients", "it left")

    def _on_strategy(self, event: Mapping[str, Any]) -> None:
        self.strategy = dict(event)

    def _on_resumed(self, event: Mapping[str, Any]) -> None:
        kept = _number(event["round"])
        self.rounds = {number: entry for number, entry in self.rounds.items() if number <= kept}
        self.validations = {number: found for number, found in self.validations.items() if number <= kept}
        self._note(event, "resumed", "", f"went on after round {kept}")

    def _on_round_started(self, event: Mapping[str, Any]) -> None:
        number, self.of, self.state = _number(event["round"]), _number(event["of"]), "training"
        invited = tuple(map(str, event["clients"]))
        awaited = int(real(event.get("answers")) or len(invited))
        self.rounds[number] = Round(number, invited, awaited, real(event.get("quorum")))
        began = real(event["time"])
        if self._pace is None and began is not None:
            self._pace = began, number

    def _on_reply(self, event: Mapping[str, Any]) -> None:
        if event["client"] is not None and self.state == "training":
            self.rounds[_number(event["round"])].answered[str(event["client"])] = bool(event["ok"])

    def _on_validated(self, event: Mapping[str, Any]) -> None:
        means = reals({k: v for k, v in event.items() if k not in ("event", "time", "round", "balance", "clients")})
        each = dict(event.get("clients") or {})
        if any(isinstance(found, Mapping) for found in each.values()):
            each = {client: found.get(primary(means)) for client, found in each.items()}
        number = _number(event["round"])
        self.validations[number] = Validation(number, means, reals(each), reals(event.get("balance")))

    def _on_round_ended(self, event: Mapping[str, Any]) -> None:
        number = _number(event["round"])
        entry = self.rounds.setdefault(number, Round(number))
        entry.ended, entry.void, entry.loss = True, bool(event["void"]), real(event["loss"])
        entry.seconds, entry.failed = reals(event["seconds"]), named(event["clients_failed"])
        entry.weights = {str(receiver): reals(row) for receiver, row in (event.get("weights") or {}).items()}
        entry.clients = {
            str(client): ClientRound(
                real(found.get("loss")), real(found.get("examples")), real(found.get("share")), real(found.get("heat")),
                reals(found.get("seconds")), reals(found.get("bytes")), real(found.get("proportion")),
            )
            for client, found in (event.get("clients") or {}).items()
        }  # fmt: skip
        self._ended_at = real(event["time"])
        if entry.void:
            self._note(event, "void", "", "fewer clients than the quorum answered; nothing was mixed", grave=True)

    def _on_rejected(self, event: Mapping[str, Any]) -> None:
        self._note(event, str(event.get("code", "rejected")), event["client"], event["reason"], grave=True)

    def _on_refused(self, event: Mapping[str, Any]) -> None:
        self._note(event, str(event.get("code", "refused")), f"node {event['node']}", event["reason"], grave=True)

    def _on_warning(self, event: Mapping[str, Any]) -> None:
        self._note(event, str(event["kind"]), event["client"], event["reason"], str(event.get("hint", "")))

    def _on_stopped_early(self, event: Mapping[str, Any]) -> None:
        self._note(event, "stopped early", "", f"validation has not got better for {event['patience']} rounds")

    def _on_measuring(self, event: Mapping[str, Any]) -> None:
        self.state = "measuring"

    def _on_run_failed(self, event: Mapping[str, Any]) -> None:
        self.state, self.reason = "failed", str(event["reason"])
        self._note(event, str(event.get("code", "failed")), "the run", event["reason"], grave=True)

    def _on_run_ended(self, event: Mapping[str, Any]) -> None:
        self.state = "ended"

    def _note(
        self, event: Mapping[str, Any], kind: str, who: Any, reason: Any, hint: str = "", grave: bool = False
    ) -> None:
        number = event.get("round")
        number = number if isinstance(number, int) else None
        self.troubles.append(Trouble(kind, str(who or ""), str(reason), hint, number, real(event.get("time")), grave))


def _number(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= ROUNDS:
        raise ValueError(f"{value!r} is no round")
    return value
