"""Failures and warnings, by name."""

from __future__ import annotations

import re
from collections.abc import Iterable

from fellrec.report.chapters.section import Section, paragraph, section
from fellrec.report.entries import Trouble
from fellrec.report.markup import Markup, tag
from fellrec.report.numbers import NOTHING, moment
from fellrec.report.record import Record
from fellrec.report.tables import table

CODE = re.compile("FR[0-9]{3}")


def troubles(record: Record) -> Section:
    """What went wrong or deserves a look, in its order."""
    found = record.history.troubles
    return section(
        "troubles", "Failures and warnings", told(found) if found else paragraph("The event log names none.")
    )


def told(found: Iterable[Trouble]) -> Markup:
    """A table of troubles."""
    return table("Failures and warnings", ["who", "what", "round", "when", "reason", "what to do"], [
        [
            trouble.who or "the run", _kind(trouble), NOTHING if trouble.round is None else str(trouble.round),
            moment(trouble.time), trouble.reason.removeprefix(f"[{trouble.kind}] "), _remedy(trouble),
        ]
        for trouble in found
    ], prose=(1, 2, 3, 4, 5))  # fmt: skip


def _kind(trouble: Trouble) -> str | Markup:
    return tag("b", f"failure: {trouble.kind}", class_="grave") if trouble.grave else trouble.kind


def _remedy(trouble: Trouble) -> str:
    if trouble.hint or not CODE.fullmatch(trouble.kind):
        return trouble.hint or NOTHING
    return f"see {trouble.kind} in docs/errors.md"
