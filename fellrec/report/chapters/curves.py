"""Loss and validation quality over the rounds, client by client."""

from __future__ import annotations

from collections.abc import Mapping

from fellrec.report.chapters.section import Section, figures, section
from fellrec.report.history import History
from fellrec.report.lines import lines
from fellrec.report.markup import Markup
from fellrec.report.names import metric, metrics_in, primary
from fellrec.report.numbers import NOTHING, decimal
from fellrec.report.record import Record
from fellrec.report.tables import figure, table

LISTED = 40
"""Rows of a table of clients, at most."""

Curves = Mapping[str, Mapping[int, float]]


def curves(record: Record) -> Section | None:
    """The learning curves; None before anything was measured."""
    drawn = [found for found in (loss(record.history), validation(record.history)) if found is not None]
    return section("curves", "Learning curves", figures(*drawn)) if drawn else None


def loss(history: History) -> Markup | None:
    """Training loss by client over the rounds."""
    rounds = history.whole_rounds()
    values = {
        client: {
            entry.number: found.loss
            for entry in rounds
            if (found := entry.clients.get(client)) and found.loss is not None
        }
        for client in history.clients()
    }
    mean = {entry.number: entry.loss for entry in rounds if entry.loss is not None}
    if not any(values.values()):
        about = "Training loss of all clients together, weighted by their examples."
        return (
            _figure("loss", "Training loss", {"all clients": mean}, {}, "", about, "loss", 4, False) if mean else None
        )
    caption = "Training loss of each client. Losses of catalogues of different sizes are not comparable."
    return _figure("loss", "Training loss", values, mean, "mean by examples", caption, "loss", 4, False)


def validation(history: History) -> Markup | None:
    """Validation quality by client: what the mix after a round achieves, round 0 before training."""
    if not history.validations:
        return None
    name = primary(metrics_in(next(iter(history.validations.values())).means))
    values = {
        client: {
            at: found.clients[client] for at, found in sorted(history.validations.items()) if client in found.clients
        }
        for client in sorted(
            {*history.clients(), *(who for found in history.validations.values() for who in found.clients)}
        )
    }
    if not any(values.values()):
        return _together(history, name)
    mean = {at: found.means[name] for at, found in sorted(history.validations.items()) if name in found.means}
    caption = (
        "What each client's mixed adapter achieves on its validation users after a round; round 0 is before training, and the"
        " last point is the average that is served."
        if history.state == "ended"
        else "What each client's mixed adapter achieves on its validation users after a round; round 0 is before training."
    )
    title = f"Validation {metric(name)}"
    return _figure("validation", title, values, mean, "mean by users", caption, metric(name), 4, name != "auc")


def _together(history: History, name: str) -> Markup:
    """Validation of clients who are too many to be told apart: on all rows together, and in the mean over clients."""
    said = {name: "all rows together", f"user_{name}": "mean over clients"}
    values = {
        label: {at: found.means[key] for at, found in sorted(history.validations.items()) if key in found.means}
        for key, label in said.items()
    }
    caption = "What the model achieves on the clients' validation rows after a round; round 0 is before training."
    drawn = {label: points for label, points in values.items() if points}
    return _figure("validation", f"Validation {metric(name)}", drawn, {}, "", caption, metric(name), 4, name != "auc")


def _figure(
    name: str,
    title: str,
    values: Curves,
    mean: Mapping[int, float],
    of: str,
    caption: str,
    unit: str,
    digits: int,
    zero: bool,
) -> Markup:
    told = ", ".join(f"round {at} {decimal(value, digits)}" for at, value in mean.items())
    drawn = lines(name, f"{title} over the rounds", f"{of}: {told}" if mean else caption, values, unit, zero)
    return figure(name, title, drawn, caption, over_rounds(title, values, digits, {of: mean} if mean else None))


def over_rounds(title: str, values: Curves, digits: int, last: Curves | None = None) -> Markup:
    """A table of clients by rounds."""
    every = {**values, **(last or {})}
    rounds = sorted({at for points in every.values() for at in points})
    listed = list(every)
    if len(listed) > LISTED:
        lowest = sorted(values, key=lambda client: [*values[client].values(), 0.0][-1])
        listed = [*lowest[:LISTED], *(last or {})]
        title = f"{title}: the {LISTED} clients with the lowest of {len(values)}"
    return table(
        title,
        ["client", *(f"round {at}" for at in rounds)],
        [
            [client, *(decimal(every[client][at], digits) if at in every[client] else NOTHING for at in rounds)]
            for client in listed
        ],
    )
