"""How fast each client learns, and how much of its own it keeps."""

from __future__ import annotations

from collections.abc import Callable

from fellrec.report.chapters.curves import over_rounds
from fellrec.report.chapters.section import Section, figures, section
from fellrec.report.entries import ClientRound
from fellrec.report.history import History
from fellrec.report.lines import lines
from fellrec.report.markup import Markup
from fellrec.report.record import Record
from fellrec.report.tables import figure


def speeds(record: Record) -> Section | None:
    """Learning speeds and own shares; None before a round ended."""
    drawn = [found for found in (learning_speed(record.history), own_share(record.history)) if found is not None]
    return section("speeds", "Learning speeds", figures(*drawn)) if drawn else None


def learning_speed(history: History) -> Markup | None:
    """The clients' warmth over the rounds."""
    values = _values(history, lambda found: found.heat)
    if not any(values.values()):
        return None
    used = [
        what
        for what, on in (
            ("its learning rate in the next round", history.strategy.pacing),
            ("what it takes from others", history.strategy.heating),
        )
        if on
    ]
    caption = "How warm each client is after a round, 1 at most; a client whose data are hard warms more slowly. "
    caption += (
        f"It sets {' and '.join(used)}." if used else "This strategy does not use it: everyone learns at full speed."
    )
    drawn = lines("heat", "Warmth of each client over the rounds", caption, values, "warmth", True)
    return figure("heat", "Warmth", drawn, caption, over_rounds("Warmth", values, 3))


def own_share(history: History) -> Markup | None:
    """How far each client stepped back from the mix to its own adapter; None where nobody ever did."""
    values = _values(history, lambda found: found.share)
    if not any(share for points in values.values() for share in points.values()):
        return None
    caption = (
        "How far a client steps from the mix towards its own last adapter before it trains, chosen on validation users."
    )
    drawn = lines("share", "Own share of each client over the rounds", caption, values, "share", True)
    return figure("share", "Own share", drawn, caption, over_rounds("Own share", values, 2))


def _values(history: History, read: Callable[[ClientRound], float | None]) -> dict[str, dict[int, float]]:
    found: dict[str, dict[int, float]] = {client: {} for client in history.clients()}
    for entry in history.whole_rounds():
        for client, said in entry.clients.items():
            value = read(said)
            if value is not None:
                found[client][entry.number] = value
    return found
