"""A run in a few sentences: what trained, how good it is beside the baselines, who is behind."""

from __future__ import annotations

from collections.abc import Sequence

from fellrec.report.chapters.balance import best_baseline, clients_in
from fellrec.report.chapters.gains import gained, tally
from fellrec.report.chapters.section import paragraph
from fellrec.report.markup import Markup, tag
from fellrec.report.names import metric, primary, recommender
from fellrec.report.numbers import count, decimal, duration, real, reals
from fellrec.report.record import Record

NAMED = 3
"""Clients that a sentence names."""

GLOSS = {"recall@10": "R@10 (recall within the first ten)"}


def summary(record: Record) -> Markup | None:
    """The sentences; None without a result on test data."""
    test = reals(record.part("metrics", "test"))
    if not test:
        return None
    shown = primary(test)
    told = [_what(record), _how_good(record, test, shown), _by_client(record, shown), _by_training(record)]
    return paragraph(tag("b", told[0]), " ", " ".join(part for part in told[1:] if part))


def _what(record: Record) -> str:
    run, rounds = record.part("run"), len(record.history.whole_rounds())
    took = f", {duration(run.get('seconds'))}" if real(run.get("seconds")) is not None else ""
    clients = real(run.get("clients"))
    who = "One client" if clients == 1 else f"{count(clients)} clients"
    return f"{who}, strategy {record.config.get('strategy.name')}, {rounds} round{'' if rounds == 1 else 's'}{took}."


def _how_good(record: Record, test: dict[str, float], shown: str) -> str:
    said = f"{GLOSS.get(shown, metric(shown))} over {_over(record, test)} is {decimal(test[shown])}"
    known = {name: reals(row) for name, row in record.part("metrics", "baselines").items()}
    known = {name: row for name, row in known.items() if shown in row}
    if not known:
        return f"{said}."
    best = max(known, key=lambda name: known[name][shown])
    among = f", the best of {len(known)} baselines" if len(known) > 1 else ""
    said += f", beside {decimal(known[best][shown])} of {recommender(best)}{among}."
    by_user = f"user_{shown}"
    if by_user in test and by_user in known[best]:
        said += f" In the mean over clients it is {decimal(test[by_user])}, beside {decimal(known[best][by_user])}."
    return said


def _over(record: Record, test: dict[str, float]) -> str:
    if "rows" in test:
        return f"{count(test['rows'])} test rows"
    users = sum(reals(row).get("test_users", 0.0) for row in clients_in(record).values())
    return f"{count(users)} test users" if users else "the test data"


def _by_client(record: Record, shown: str) -> str:
    pairs = {
        client: (value, best)
        for client, row in clients_in(record).items()
        if (value := real(row.get(shown))) is not None and (best := best_baseline(row, shown)) is not None
    }
    if len(pairs) < 2:
        return ""
    behind = [client for client, (value, best) in pairs.items() if value <= best]
    if not behind:
        return f"Each of the {len(pairs)} clients is above its own best baseline."
    return f"Above their own best baseline: {len(pairs) - len(behind)} of {len(pairs)} clients; not {_listed(behind)}."


def _by_training(record: Record) -> str:
    found = gained(record.history)
    if not found:
        return ""
    lost = [client for client, (before, after) in found.items() if after < before]
    named = f"; lost: {_listed(lost)}" if lost else ""
    return f"Against before training, on validation users, {tally(found)}{named}."


def _listed(names: Sequence[str]) -> str:
    shown = names if len(names) <= NAMED + 1 else names[:NAMED]
    return ", ".join(shown) + (f" and {len(names) - NAMED} others" if len(shown) < len(names) else "")
