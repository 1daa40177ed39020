"""The parts of the live page, as the history so far gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fellrec.report.chapters.attention import attention_maps
from fellrec.report.chapters.curves import loss, validation
from fellrec.report.chapters.overview import STATES
from fellrec.report.chapters.section import cards, figures
from fellrec.report.chapters.speeds import learning_speed
from fellrec.report.chapters.troubles import told
from fellrec.report.entries import Round
from fellrec.report.history import History
from fellrec.report.markup import Markup, join, tag
from fellrec.report.names import metric, primary
from fellrec.report.numbers import NOTHING, count, decimal, duration, moment
from fellrec.report.tables import table

TROUBLES = 50
"""Troubles that are shown, the newest first."""

LISTED = 60
"""Clients up to which each has a row."""

NAMES = ("status", "clients", "curves", "attention", "troubles")
"""The parts, in their order on the page."""


def board(history: History, damaged: int = 0, pictures: Mapping[str, Markup] | None = None) -> dict[str, Markup]:
    """Each part's markup by its name in :data:`NAMES`; ``pictures`` are what :func:`drawn` gave, where nothing changed since."""
    newest = list(reversed(history.troubles))
    more = f"The {TROUBLES} newest of {len(newest)}." if len(newest) > TROUBLES else None
    unread = damaged + history.unreadable
    return {
        "status": _status(history),
        "clients": _clients(history),
        **(pictures or drawn(history)),
        "troubles": join(
            told(newest[:TROUBLES]) if newest else _later("None so far."),
            _later(more) if more else None,
            _later(f"{unread} lines of the log could not be read.") if unread else None,
        ),
    }


def drawn(history: History) -> dict[str, Markup]:
    """The parts that are pictures; they change with ``history.changes`` only."""
    curves = [found for found in (loss(history), validation(history), learning_speed(history)) if found is not None]
    maps = attention_maps(history)
    none = "It comes when several clients have been mixed one by one."
    return {
        "curves": figures(*curves) if curves else _later("Curves come with the first round."),
        "attention": figures(maps) if maps else _later(none),
    }


def _status(history: History) -> Markup:
    if history.state == "waiting":
        waiting = tag("p", tag("b", "Waiting for a run to start. "), "This page goes on by itself.", class_="banner")
        return join(tag("h1", "no run yet"), waiting)
    entry = _newest(history)
    done = float(sum(found.ended for found in history.rounds.values()))
    pairs = [("state", history.state), ("round", f"{entry.number if entry else 0} of {history.of or NOTHING}")]
    if entry and not entry.ended and history.state == "training":
        pairs.append(
            (f"answered in this round (quorum {count(entry.quorum)})", f"{len(entry.answered)} of {len(entry.invited)}")
        )
        done += entry.replies / max(1, entry.messages, entry.replies)
    left = history.left()
    if left is not None:
        pairs.append(("left to train, as of the last round's end", duration(left)))
    if history.validations:
        found = history.validations[max(history.validations)]
        name = primary(found.means)
        pairs.append((f"validation {metric(name)} after round {found.round}", decimal(found.means.get(name))))
    grave = sum(found.grave for found in history.troubles)
    if history.troubles:
        pairs.append((f"failures; warnings and notes: {len(history.troubles) - grave}", str(grave)))
    failed = (
        tag("p", tag("b", "This run failed. "), history.reason, class_="banner grave")
        if history.state == "failed"
        else None
    )
    return join(
        tag("h1", history.run),
        failed,
        tag(
            "p",
            f"The run {STATES[history.state]}. Last event {moment(history.last)}",
            tag("span", data_since=history.last and f"{history.last:.3f}"),
            ".",
        ),
        cards(pairs),
        tag("progress", value=done, max=max(history.of or 1, done), aria_label="rounds done"),
    )


def _clients(history: History) -> Markup:
    names = history.clients()
    if not names:
        return _later("No client has joined yet.")
    entry = _newest(history)
    if len(names) > LISTED:
        return _many(history, names, entry)
    ended = history.whole_rounds()
    head = ["client", "now", "loss", "validation", "warmth", "seconds in a round", "users", "training interactions"]
    rows = []
    for name in names:
        member = history.members.get(name)
        said = next((found.clients[name] for found in reversed(ended) if name in found.clients), None)
        measured = next(
            (
                found.clients[name]
                for _, found in sorted(history.validations.items(), reverse=True)
                if name in found.clients
            ),
            None,
        )
        rows.append(
            [
                name,
                _now(history, entry, name),
                decimal(said.loss if said else None),
                decimal(measured),
                decimal(said.heat if said else None, 3),
                duration(said.seconds.get("train", 0.0) + said.seconds.get("evaluate", 0.0)) if said else NOTHING,
                count(member.users) if member else NOTHING,
                count(member.train_interactions) if member else NOTHING,
            ]
        )
    return table("Clients, with what they last reported", head, rows, prose=(1,))


def _many(history: History, names: Sequence[str], entry: Round | None) -> Markup:
    here = sum(member.here for member in history.members.values())
    messages = f", asked in {entry.messages} messages" if entry else ""
    failed = f" {len(entry.failed)} failed in round {entry.number}." if entry and entry.failed else ""
    return tag("p", f"{count(here)} of {count(len(names))} clients are here{messages}; too many to be listed.{failed}")


def _now(history: History, entry: Round | None, client: str) -> str | Markup:
    member = history.members.get(client)
    if member is not None and not member.here:
        return tag("b", "away")
    if entry is None or client not in entry.invited:
        return "here"
    if client in entry.failed:
        return tag("b", f"failed: {entry.failed[client]}")
    if client not in entry.answered:
        return "at work" if history.state == "training" else NOTHING
    return "answered" if entry.answered[client] else tag("b", "failed")


def _newest(history: History) -> Round | None:
    return history.rounds[max(history.rounds)] if history.rounds else None


def _later(what: str) -> Markup:
    return tag("p", what, class_="soft")
