"""Who takes how much from whom, round by round."""

from __future__ import annotations

from fellrec.report.chapters.curves import over_rounds
from fellrec.report.chapters.section import Section, figures, paragraph, section
from fellrec.report.entries import Round
from fellrec.report.history import History
from fellrec.report.lines import lines
from fellrec.report.maps import NAMED, Shades, drawable, maps
from fellrec.report.markup import Markup
from fellrec.report.numbers import decimal, short
from fellrec.report.record import Record
from fellrec.report.tables import figure, table


def attention(record: Record) -> Section | None:
    """The mixing weights; None before anything was mixed."""
    drawn = [found for found in (attention_maps(record.history), own_weight(record.history)) if found is not None]
    if not drawn:
        return None
    about = (
        "After each round the server mixes what the clients sent, for every receiver anew: its row of weights sums to one."
        " The rule decides the weights; under local training each row is the client itself."
    )
    return section("attention", "Who learns from whom", paragraph(about), figures(*drawn))


def attention_maps(history: History) -> Markup | None:
    """The mixing matrices of some rounds as maps, with their numbers."""
    mixed = {entry.number: entry for entry in history.whole_rounds() if len(entry.weights) > 1}
    if not mixed:
        return None
    clients = sorted({client for entry in mixed.values() for client in (*entry.weights, *_senders(entry))})
    shown = drawable(list(mixed), len(clients))
    title = "Mixing weights, receiver by row"
    numbers = _all_weights(mixed, shown, clients) if len(clients) <= NAMED else _nearest(mixed[max(mixed)])
    if not shown:
        return numbers
    matrices = {number: mixed[number].weights for number in shown}
    span = Shades.over(list(matrices.values()))
    told = f"Between two clients the weights run from {short(span.low)} to {short(span.high)}." if span else ""
    caption = (
        f"A row takes from the columns. {told} All alike would be {short(1 / len(clients))}. The open diagonal is what a client"
        " takes from itself."
    )
    if any(len(mixed[number].weights) < len(clients) for number in shown):
        caption += " Blank rows and columns took no part in that round."
    if len(shown) < len(mixed):
        caption += f" {len(shown)} of {len(mixed)} rounds are drawn."
    return figure(
        "map",
        title,
        maps("map", title, f"{len(shown)} maps of {len(clients)} clients. {told}", matrices, clients),
        caption,
        numbers,
    )


def own_weight(history: History) -> Markup | None:
    """What each client takes from itself, over the rounds."""
    rounds = [entry for entry in history.whole_rounds() if len(entry.weights) > 1]
    values = {
        client: {
            entry.number: entry.weights[client][client] for entry in rounds if client in entry.weights.get(client, {})
        }
        for client in history.clients()
    }
    if not any(values.values()):
        return None
    title = "Weight on itself"
    drawn = lines(
        "own-weight",
        f"{title}, by client over the rounds",
        "The diagonal of the mixing weights.",
        values,
        "weight",
        True,
    )
    caption = "The diagonal of the maps: what is left goes to the other clients."
    return figure("own-weight", title, drawn, caption, over_rounds(title, values, 3))


def _senders(entry: Round) -> set[str]:
    return {sender for row in entry.weights.values() for sender in row}


def _all_weights(mixed: dict[int, Round], shown: list[int], clients: list[str]) -> Markup:
    rows = [
        [f"{number}: {receiver}", *(decimal(mixed[number].weights[receiver].get(sender), 3) for sender in clients)]
        for number in shown
        for receiver in clients
        if receiver in mixed[number].weights
    ]
    return table("Mixing weights", ["round: receiver", *(f"from {client}" for client in clients)], rows)


def _nearest(entry: Round) -> Markup:
    rows = []
    for receiver, row in entry.weights.items():
        others = sorted(((weight, sender) for sender, weight in row.items() if sender != receiver), reverse=True)
        most, least = (
            (f"{sender} {short(weight)}" for weight, sender in (others[0], others[-1])) if others else ("", "")
        )
        rows.append([receiver, decimal(row.get(receiver), 3), most, least])
    return table(f"Mixing weights after round {entry.number}", ["receiver", "itself", "most from", "least from"], rows)
