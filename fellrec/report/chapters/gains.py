"""Who gained by training, and who lost."""

from __future__ import annotations

from fellrec.report.bars import Bar, bars
from fellrec.report.history import History
from fellrec.report.markup import Markup
from fellrec.report.names import metric, primary
from fellrec.report.numbers import count, decimal
from fellrec.report.record import Record
from fellrec.report.tables import figure, table

BEFORE = "before training"


def gained(history: History) -> dict[str, tuple[float, float]]:
    """Validation quality of each client before training and at the end; of those that were measured both times."""
    if len(history.validations) < 2 or 0 not in history.validations:
        return {}
    first, last = history.validations[0].clients, history.validations[max(history.validations)].clients
    return {client: (first[client], last[client]) for client in last if client in first}


def tally(found: dict[str, tuple[float, float]]) -> str:
    """How many gained and lost, in words."""
    up = sum(after > before for before, after in found.values())
    down = sum(after < before for before, after in found.values())
    same = len(found) - up - down
    return f"{up} of {len(found)} clients gained, {down} lost" + (f", {same} stayed as they were" if same else "")


def gains(record: Record) -> Markup | None:
    """Each client before and after training, the one that gained least first; None where clients were not measured."""
    found = gained(record.history)
    if not found:
        return None
    said = metric(primary(record.history.validations[0].means))
    order = sorted(found, key=lambda client: found[client][1] - found[client][0])
    title = f"Gain by training: validation {said} of each client"
    rows = [Bar(client, found[client][1], {BEFORE: found[client][0]}) for client in order]
    drawn = bars("gains", title, f"{tally(found)}.", rows)
    most = record.config.get("evaluate.valid-users")
    few = f" Each is measured on at most {count(most)} validation users: small differences are noise." if most else ""
    caption = f"{tally(found)}. The bar is the end, the mark before training; who gained least comes first.{few}"
    numbers = table(
        title,
        ["client", BEFORE, "at the end", "gain"],
        [
            [
                client,
                decimal(found[client][0]),
                decimal(found[client][1]),
                f"{found[client][1] - found[client][0]:+.4f}",
            ]
            for client in order
        ],
    )
    return figure("gains", title, drawn, caption, numbers)
