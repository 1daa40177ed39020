"""How good the recommendations are: beside the baselines, and over the clients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fellrec.report.bars import Bar, bars
from fellrec.report.chapters.section import Section, figures, paragraph, section
from fellrec.report.markup import Markup
from fellrec.report.names import BALANCE, metric, metrics_in, primary, recommender
from fellrec.report.numbers import NOTHING, count, decimal, percent, real, reals
from fellrec.report.record import Record
from fellrec.report.tables import figure, folded, table

Row = Mapping[str, Any]


NAMED = 12
"""Clients without a measurement that are named."""

SERVED = {"test": "as served", "model": "the model alone", "validation": "as served, on validation rows"}


def quality(record: Record) -> Section | None:
    """Comparison, clients and balance on test users; None without a result."""
    test = reals(record.part("metrics", "test"))
    if not test:
        return None
    names, shown = metrics_in(test), primary(test)
    return section(
        "quality", "Quality on test users" if _ranked(shown) else "Quality on test rows", _missing(record),
        figures(_comparison(record, names, shown), _clients(record, names, shown)),
        _grounding(record, names), _groups(record, names),
    )  # fmt: skip


def _missing(record: Record) -> Markup | None:
    missing = record.part("metrics", "missing")
    if not missing:
        return None
    named = ", ".join(f"{client} ({reason})" for client, reason in list(missing.items())[:NAMED])
    more = f", and {len(missing) - NAMED} others that result.json names" if len(missing) > NAMED else ""
    return paragraph(f"These clients are not in the means: {named}{more}.")


def _comparison(record: Record, names: list[str], shown: str) -> Markup:
    parts = {said: reals(record.part("metrics", part)) for part, said in SERVED.items()}
    rows = {
        said: found for said, found in parts.items() if found and (said == "as served" or found != parts["as served"])
    }
    rows |= {recommender(name): reals(found) for name, found in record.part("metrics", "baselines").items()}
    baselines = bool(record.part("metrics", "baselines"))
    title = f"{metric(shown)} beside the baselines" if baselines else f"{metric(shown)} on all clients"
    drawn = bars(
        "comparison", title,
        "; ".join(f"{label} {decimal(found.get(shown))}" for label, found in rows.items()),
        [Bar(label, found[shown]) for label, found in rows.items() if shown in found],
    )  # fmt: skip
    numbers = table(
        "Mean over clients, weighted by their test users" if _ranked(shown) else "All clients' rows together",
        ["", *map(metric, names)],
        [[label, *(decimal(found.get(name)) for name in names)] for label, found in rows.items()],
    )  # fmt: skip
    caption = "All clients' rows together; AUC by user is the mean over clients." if "user_auc" in names else ""
    if _ranked(shown):
        caption = "All on the same users and items, by ranks; items seen before are masked, ties count against the recommender."
    if "the model alone" in rows:
        caption += " The model alone does without the client's own counts and neighbours."
    return figure("comparison", title, drawn, caption, numbers)


def _clients(record: Record, names: list[str], shown: str) -> Markup | None:
    clients = {name: row for name, row in record.part("metrics", "clients").items() if isinstance(row, Mapping)}
    if not clients:
        return None
    values = {client: value for client, row in clients.items() if (value := real(row.get(shown))) is not None}
    order = sorted(values, key=values.__getitem__)
    unknown = [client for client in clients if client not in values]
    balance = reals(record.part("metrics", "balance", shown))
    baselines = list(record.part("metrics", "baselines"))
    drawn = bars(
        "balance", f"{metric(shown)} of each client, the worst first",
        ", ".join(f"{BALANCE.get(key, key)} {decimal(value)}" for key, value in balance.items()),
        [Bar(client, values[client], _marks(clients[client], shown)) for client in order],
    )  # fmt: skip
    columns = _columns(list(clients.values()), names, shown, baselines)
    numbers = table("Clients on their test users, the worst first", ["client", *columns], [
        [client, *(read(row) for read in columns.values())] for client, row in ((name, clients[name]) for name in order + unknown)
    ], prose=(len(columns),) if "evidence" in columns else ())  # fmt: skip
    spread = table("Balance over clients", ["", metric(shown)], [
        [BALANCE.get(key, key), decimal(value)] for key, value in balance.items()
    ])  # fmt: skip
    caption = (
        f"Worst client {decimal(balance.get('worst'))}, Jain index {decimal(balance.get('jain'), 3)} (1: all alike)."
    )
    return figure(
        "balance", f"Balance: {metric(shown)} of each client", drawn, caption if balance else "", numbers, spread
    )


def _columns(rows: list[Row], names: list[str], shown: str, baselines: list[str]) -> dict[str, Callable[[Row], str]]:
    """The columns of a table of clients, each with how it is read; those that no client has are left out."""
    columns: dict[str, Callable[[Row], str]] = {
        "test users": lambda row: count(row.get("test_users")),
        "test rows": lambda row: count(row.get("test_rows")),
        "training interactions": lambda row: count(row.get("train_interactions")),
        **{metric(name): lambda row, name=name: decimal(row.get(name)) for name in names},
        **{
            f"{recommender(name)} {metric(shown)}": lambda row, name=name: decimal(
                _of(row, "baselines", name).get(shown)
            )
            for name in baselines
        },
        f"model alone {metric(shown)}": lambda row: decimal(_of(row, "model").get(shown)),
        "own share": lambda row: percent(row.get("own_share")),
        "evidence": _evidence,
    }
    return {name: read for name, read in columns.items() if any(read(row) != NOTHING for row in rows)}


def _groups(record: Record, names: list[str]) -> Markup | None:
    """Of a click model: the metrics of each group of users, by the value of an attribute."""
    rows = [
        [f"{attribute} {code}", count(reals(found).get("rows")), *(decimal(reals(found).get(name)) for name in names)]
        for attribute, groups in record.part("metrics", "groups").items() if isinstance(groups, Mapping)
        for code, found in groups.items()
    ]  # fmt: skip
    if not rows:
        return None
    shown = table("Groups, by the code of an attribute's value", ["group", "test rows", *map(metric, names)], rows)
    return folded("groups", "Table: groups of users", shown)


def _ranked(shown: str) -> bool:
    return shown.startswith(("recall@", "ndcg@"))


def _grounding(record: Record, names: list[str]) -> Markup | None:
    grounding = record.part("metrics", "grounding")
    if not grounding:
        return None
    ways = {way: found for way, found in grounding.items() if isinstance(found, Mapping)}
    rows = [
        [f"{way}, {said}", *(decimal(reals(found.get(part)).get(name)) for name in names)]
        for way, found in ways.items() for part, said in (("test", "as served"), ("model", "the model alone"))
        if reals(found.get(part))
    ]  # fmt: skip
    exact = f"{percent(grounding.get('exact'))} of the generated texts are titles of the catalogue to the letter."
    return figures(paragraph(exact), table("Ways of grounding generated text", ["", *map(metric, names)], rows))


def _marks(row: Mapping[str, Any], shown: str) -> dict[str, float]:
    found = row.get("baselines")
    each = (
        {recommender(name): reals(values).get(shown) for name, values in found.items()}
        if isinstance(found, Mapping)
        else {}
    )
    return {name: value for name, value in each.items() if value is not None}


def _of(row: Mapping[str, Any], *path: str) -> dict[str, float]:
    found: Any = row
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    return reals(found)


def _evidence(row: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in reals(row.get("evidence")).items()) or NOTHING
