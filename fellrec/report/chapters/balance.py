"""How quality is spread over the clients: one by one, or where they are many, how many have which."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

from fellrec.report.bars import ROWS, Bar, bars
from fellrec.report.histogram import binned, histogram
from fellrec.report.markup import Markup
from fellrec.report.names import BALANCE, metric, metrics_in, recommender
from fellrec.report.numbers import NOTHING, count, decimal, percent, real, reals, short
from fellrec.report.record import Record
from fellrec.report.tables import figure, table

Row = Mapping[str, Any]


def clients_in(record: Record) -> dict[str, Row]:
    """Each client's measurements."""
    return {name: row for name, row in record.part("metrics", "clients").items() if isinstance(row, Mapping)}


def best_baseline(row: Row, shown: str) -> float | None:
    """The highest value of a client's baselines."""
    return max(_marks(row, shown).values(), default=None)


def balance(record: Record, names: Sequence[str], shown: str) -> Markup | None:
    """Each client on its test users, the worst first; None where no client was measured."""
    clients = clients_in(record)
    if not clients:
        return None
    values = {client: value for client, row in clients.items() if (value := real(row.get(shown))) is not None}
    order = sorted(values, key=values.__getitem__)
    many = len(order) > ROWS
    spread = reals(record.part("metrics", "balance", shown))
    title = f"Balance: {metric(shown)} of each client"
    about = ", ".join(f"{BALANCE.get(key, key)} {decimal(value)}" for key, value in spread.items())
    numbers = [_numbers(record, clients, names, shown, order), _spread(spread, shown)]
    if many:
        drawn = histogram("balance", title, about, list(values.values()), f"{metric(shown)} of a client")
        numbers = [_bins(list(values.values()), shown), *numbers]
    else:
        drawn = bars("balance", title, about, [Bar(name, values[name], _marks(clients[name], shown)) for name in order])
    return figure("balance", title, drawn, _caption(clients, values, spread, many), *numbers)


def _caption(clients: Mapping[str, Row], values: Mapping[str, float], spread: Mapping[str, float], many: bool) -> str:
    if not spread:
        return ""
    even = f"Jain index {decimal(spread.get('jain'), 3)} (1: all alike)."
    if not many:
        return f"The worst first. Worst client {decimal(spread.get('worst'))}, {even}"
    told = f"{count(len(values))} clients; worst tenth {decimal(spread.get('worst_decile'))} in the mean, {even}"
    rows = [found for name in values if (found := real(clients[name].get("test_rows"))) is not None]
    if rows:
        told += f" Half of them have no more than {short(median(rows))} test rows: one client's value is rough."
    if len(values) < len(clients):
        told += f" Without such a value, as where all test rows are of one kind: {count(len(clients) - len(values))}."
    return told


def _numbers(
    record: Record, clients: Mapping[str, Row], names: Sequence[str], shown: str, order: Sequence[str]
) -> Markup:
    columns = _columns(list(clients.values()), names, shown, list(record.part("metrics", "baselines")))
    listed = [*order, *(client for client in clients if client not in set(order))]
    caption = "Clients on their test users, the worst first"
    if len(order) > ROWS:
        caption, listed = f"The {ROWS} clients with the lowest of {len(listed)}; result.json has all", listed[:ROWS]
    rows = [[client, *(read(clients[client]) for read in columns.values())] for client in listed]
    return table(caption, ["client", *columns], rows, prose=(len(columns),) if "evidence" in columns else ())


def _spread(spread: Mapping[str, float], shown: str) -> Markup:
    rows = [[BALANCE.get(key, key), decimal(value)] for key, value in spread.items()]
    return table("Balance over clients", ["", metric(shown)], rows)


def _bins(values: list[float], shown: str) -> Markup:
    rows = [[f"{low:.3g} to {high:.3g}", count(many)] for low, high, many in binned(values)]
    return table("How many clients have which value", [metric(shown), "clients"], rows)


def _columns(
    rows: list[Row], names: Sequence[str], shown: str, baselines: list[str]
) -> dict[str, Callable[[Row], str]]:
    """The columns of a table of clients, each with how it is read; those that no client has are left out."""
    columns: dict[str, Callable[[Row], str]] = {
        "test users": lambda row: count(row.get("test_users")),
        "test rows": lambda row: count(row.get("test_rows")),
        "training interactions": lambda row: count(row.get("train_interactions")),
        **{metric(name): _decimal(name) for name in metrics_in(names)},
        **{f"{recommender(name)} {metric(shown)}": _decimal(shown, "baselines", name) for name in baselines},
        f"model alone {metric(shown)}": _decimal(shown, "model"),
        "own share": lambda row: percent(row.get("own_share")),
        "evidence": _evidence,
    }
    return {name: read for name, read in columns.items() if any(read(row) != NOTHING for row in rows)}


def _decimal(name: str, *path: str) -> Callable[[Row], str]:
    return lambda row: decimal(_of(row, *path).get(name))


def _marks(row: Row, shown: str) -> dict[str, float]:
    found = row.get("baselines")
    each = {recommender(name): reals(values) for name, values in found.items()} if isinstance(found, Mapping) else {}
    return {name: values[shown] for name, values in each.items() if shown in values}


def _of(row: Row, *path: str) -> dict[str, float]:
    found: Any = row
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    return reals(found)


def _evidence(row: Row) -> str:
    found = reals(row.get("evidence"))
    used = ", ".join(f"{name} {value:g}" for name, value in found.items() if value)
    return used or ("not used" if found else NOTHING)
