"""Failures and warnings, by name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from common.errors import GuardError
from fellrec.report.chapters.section import Section, paragraph, section
from fellrec.report.entries import Trouble
from fellrec.report.history import History
from fellrec.report.markup import Markup, tag
from fellrec.report.numbers import NOTHING, decimal, moment, real, short
from fellrec.report.record import Record
from fellrec.report.tables import table

CODE = re.compile("FR[0-9]{3}")


def troubles(record: Record) -> Section:
    """What went wrong or deserves a look, in its order."""
    found, parts = record.history.troubles, guarded(record.history)
    return section(
        "troubles", "Failures and warnings", told(found) if found else paragraph("The event log names none."), *parts
    )


def guarded(history: History) -> list[Markup]:
    """What the guard before mixing did; nothing where it was off or nothing is mixed."""
    settings = history.strategy.guard
    if not isinstance(settings, Mapping) or real(settings.get("factor")) is None:
        return []
    held = [
        own.proportion
        for entry in history.whole_rounds()
        for own in entry.clients.values()
        if own.proportion is not None
    ]
    out = sum(trouble.kind == GuardError.code for trouble in history.troubles)
    largest = f" The largest that was mixed was {decimal(max(held), 2)} times." if held else ""
    return [
        paragraph(
            f"Before mixing, an update whose norm is more than {short(settings['factor'])} times the others' median is left out:"
            f" {out or 'none'} in this run.{largest}"
        )
    ]


def told(found: Iterable[Trouble]) -> Markup:
    """A table of troubles."""
    return table(
        "Failures and warnings",
        ["who", "what", "round", "when", "reason", "what to do"],
        [
            [
                trouble.who or "the run",
                _kind(trouble),
                NOTHING if trouble.round is None else str(trouble.round),
                moment(trouble.time),
                trouble.reason.removeprefix(f"[{trouble.kind}] "),
                _remedy(trouble),
            ]
            for trouble in found
        ],
        prose=(1, 2, 3, 4, 5),
    )


def _kind(trouble: Trouble) -> str | Markup:
    return tag("b", f"failure: {trouble.kind}", class_="grave") if trouble.grave else trouble.kind


def _remedy(trouble: Trouble) -> str:
    if trouble.hint or not CODE.fullmatch(trouble.kind):
        return trouble.hint or NOTHING
    return f"see {trouble.kind} in docs/errors.md"
