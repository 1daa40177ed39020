"""How good the recommendations are: beside the baselines, and over the clients."""

from __future__ import annotations

from collections.abc import Mapping

from fellrec.report.bars import Bar, bars
from fellrec.report.chapters.balance import balance
from fellrec.report.chapters.gains import gains
from fellrec.report.chapters.section import Section, figures, paragraph, section
from fellrec.report.chapters.troubles import CODE
from fellrec.report.markup import Markup, tag
from fellrec.report.names import metric, metrics_in, primary, recommender
from fellrec.report.numbers import count, decimal, percent, reals
from fellrec.report.record import Record
from fellrec.report.tables import figure, folded, table

NAMED = 12
"""Clients that are named for each reason why they have no measurement."""

SERVED = {"test": "as served", "model": "the model alone", "validation": "as served, on validation rows"}


def quality(record: Record) -> Section | None:
    """Comparison, clients and balance on test users; None without a result."""
    test = reals(record.part("metrics", "test"))
    if not test:
        return None
    names, shown = metrics_in(test), primary(test)
    return section(
        "quality",
        "Quality on test users" if _ranked(shown) else "Quality on test rows",
        _missing(record),
        figures(_comparison(record, names, shown), balance(record, names, shown), gains(record)),
        _grounding(record, names),
        _groups(record, names),
    )


def _missing(record: Record) -> Markup | None:
    missing = record.part("metrics", "missing")
    if not missing:
        return None
    reasons: dict[str, list[str]] = {}
    for client, reason in missing.items():
        said = f"failed with {reason}" if CODE.fullmatch(str(reason)) else str(reason)
        reasons.setdefault(said, []).append(client)
    told = [
        f"{reason} ({', '.join(names[:NAMED])}" + (f" and {len(names) - NAMED} others)" if len(names) > NAMED else ")")
        for reason, names in reasons.items()
    ]
    who = "One client is" if len(missing) == 1 else f"{count(len(missing))} clients are"
    return paragraph(tag("b", f"{who} not in the means: "), f"{'; '.join(told)}.")


def _comparison(record: Record, names: list[str], shown: str) -> Markup:
    parts = {said: reals(record.part("metrics", part)) for part, said in SERVED.items()}
    rows = {
        said: found for said, found in parts.items() if found and (said == "as served" or found != parts["as served"])
    }
    rows |= {recommender(name): reals(found) for name, found in record.part("metrics", "baselines").items()}
    baselines = bool(record.part("metrics", "baselines"))
    title = f"{metric(shown)} beside the baselines" if baselines else f"{metric(shown)} on all clients"
    by_user = f"user_{shown}"
    drawn = bars(
        "comparison",
        title,
        "; ".join(f"{label} {decimal(found.get(shown))}" for label, found in rows.items()),
        [
            Bar(label, found[shown], {"mean over clients": found[by_user]} if by_user in found else {})
            for label, found in rows.items()
            if shown in found and label != SERVED["validation"]
        ],
    )
    numbers = table(
        "Mean over clients, weighted by their test users" if _ranked(shown) else "All clients' rows together",
        ["", *map(metric, names)],
        [[label, *(decimal(found.get(name)) for name in names)] for label, found in rows.items()],
    )
    caption = ""
    if by_user in names:
        caption = (
            "The bar is over all clients' rows together, where telling clients apart helps too; the mark is the mean over"
            " clients, each by its own rows alone. An AUC of 0.5 is chance."
        )
    if _ranked(shown):
        caption = "All on the same users and items, by ranks; items seen before are masked, ties count against the recommender."
    if "the model alone" in rows:
        caption += " The model alone does without the client's own counts and neighbours."
    return figure("comparison", title, drawn, caption, numbers)


def _groups(record: Record, names: list[str]) -> Markup | None:
    """Of a click model: the metrics of each group of users, by the value of an attribute."""
    rows = [
        [f"{attribute} {code}", count(reals(found).get("rows")), *(decimal(reals(found).get(name)) for name in names)]
        for attribute, groups in record.part("metrics", "groups").items()
        if isinstance(groups, Mapping)
        for code, found in groups.items()
    ]
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
        for way, found in ways.items()
        for part, said in (("test", "as served"), ("model", "the model alone"))
        if reals(found.get(part))
    ]
    exact = f"{percent(grounding.get('exact'))} of the generated texts are titles of the catalogue to the letter."
    return figures(paragraph(exact), table("Ways of grounding generated text", ["", *map(metric, names)], rows))
