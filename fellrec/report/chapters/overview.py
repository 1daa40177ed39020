"""What ran, and how it stands."""

from __future__ import annotations

from fellrec.report.bars import ROWS
from fellrec.report.chapters.section import Section, cards, paragraph, section
from fellrec.report.chapters.summary import summary
from fellrec.report.markup import Markup, tag
from fellrec.report.names import metric, primary, recommender
from fellrec.report.numbers import NOTHING, count, decimal, duration, moment, reals, short
from fellrec.report.record import Record
from fellrec.report.tables import facts

STATES = {
    "waiting": "has not said anything yet",
    "starting": "has started and waits for its clients",
    "training": "trains",
    "measuring": "measures its result",
    "ended": "has ended",
    "failed": "failed",
}


def overview(record: Record) -> Section:
    """State, headline numbers, and the facts of the run."""
    return section("overview", "What ran", _banners(record), summary(record), _headline(record), facts(_facts(record)))


def _banners(record: Record) -> list[Markup]:
    history, found = record.history, []
    if history.state == "failed":
        found.append(tag("p", tag("b", "This run failed. "), history.reason, class_="banner grave", role="note"))
    elif record.result is None:
        state = STATES[history.state]
        found.append(
            tag(
                "p",
                tag("b", "There is no result yet. "),
                f"The run {state}; last event {moment(history.last)}.",
                class_="banner",
                role="note",
            )
        )
    if record.part("data").get("generated") is True:
        found.append(
            tag(
                "p",
                tag("b", "Generated data. "),
                "No number here says anything about real users.",
                class_="banner",
                role="note",
            )
        )
    grave = sum(trouble.grave for trouble in history.troubles)
    if grave and history.state != "failed":
        told = "One failure" if grave == 1 else f"{count(grave)} failures"
        where = tag("a", "Failures and warnings", href="#troubles")
        found.append(tag("p", tag("b", f"{told}. "), "Named in ", where, ".", class_="banner grave", role="note"))
    unread = record.damaged + history.unreadable
    if unread:
        found.append(tag("p", f"{unread} lines of the event log could not be read and are left out.", class_="soft"))
    return found


def _headline(record: Record) -> Markup | None:
    test = reals(record.part("metrics", "test"))
    if not test:
        return None
    name = primary(test)
    clients = record.part("metrics", "clients")
    users = sum(reals(row).get("test_users", 0.0) for row in clients.values())
    pairs = [(f"{metric(name)} on test {'users' if '@' in name else 'rows'}, as served", decimal(test[name]))]
    for baseline, values in record.part("metrics", "baselines").items():
        pairs.append((f"{metric(name)} of {recommender(baseline)}", decimal(reals(values).get(name))))
    by_user = f"user_{name}"
    if by_user in test:
        pairs.append((f"{metric(name)} in the mean over clients, as served", decimal(test[by_user])))
    balance = reals(record.part("metrics", "balance", name))
    if balance:
        # the worst of very many is chance
        key, who = ("worst", "worst client") if len(clients) <= ROWS else ("worst_decile", "worst tenth of the clients")
        pairs += [
            (f"{metric(name)} of the {who}", decimal(balance.get(key))),
            ("Jain index over clients (1: all alike)", decimal(balance.get("jain"), 3)),
        ]
    if record.part("privacy").get("mechanism"):
        pairs.append(("epsilon of a client at most", short(record.part("privacy").get("epsilon"))))
    pairs.append(("clients", count(record.part("run").get("clients"))))
    if users:
        pairs.append(("test users", count(users)))
    return tag("div", cards(pairs), paragraph(doubt(name, test[name], users)))


FEW = 5
"""Hits and misses below which no normal approximation holds."""


def doubt(name: str, value: float, users: float) -> str:
    """How far a mean over users may be from that of all such users.

    Of values between 0 and 1 with mean p the variance is at most p (1 - p), so that the 95 % interval is at most what is
    told. It says nothing of seeds.
    """
    if users < 2 or not name.startswith(("recall@", "ndcg@")) or not 0 <= value <= 1:
        return "This is one run with one seed."
    if users * min(value, 1 - value) < FEW:
        return f"This is one run with one seed, and {count(users)} users are few for such a value: it is rough."
    margin = 1.96 * (value * (1 - value) / users) ** 0.5
    return (
        f"This is one run with one seed. Over {count(users)} users alone, {metric(name)} is known to ± {margin:.4f} at most"
        " (95 %, normal approximation): smaller differences are noise. Differences on the same users may be surer."
    )


def _facts(record: Record) -> list[tuple[str, str | Markup]]:
    run, config, history = record.part("run"), record.config, record.history
    split = "off: each client runs the whole model"
    if config.get("split.on"):
        layers = record.part("run", "split").get("layers")
        of = f" of {layers} layers" if layers else ""
        split = (
            f"the client keeps the first {config.get('split.k')} and the last {config.get('split.m')}{of}, the server"
            f" hosts those between; {config.get('split.codec')} on the wire"
        )
    told = {
        "strategy": _strategy(record),
        "recommender": f"{config.get('model.recommender', NOTHING)}, model {config.get('model.name', NOTHING)}",
        "split": split,
        "data": _data(record),
        "rounds": f"{len(history.whole_rounds())} of {config.get('num-server-rounds', NOTHING)}",
        "began": moment(history.began),
        "took": duration(run.get("seconds")) if run else NOTHING,
        "mode": str(run.get("mode", NOTHING)),
        "seed": str(config.get("seed", NOTHING)),
    }
    recipe = str(config.get("recipe") or "none")
    return [("recipe", recipe), *((name, said) for name, said in told.items() if said != NOTHING)]


def _strategy(record: Record) -> str:
    rules = ", ".join(f"{scope} by {rule}" for scope, rule in record.history.strategy.rules.items())
    return f"{record.config.get('strategy.name', NOTHING)}: {rules}".rstrip(": ")


def _data(record: Record) -> str:
    data, history = record.part("data"), record.history
    sets = str(record.config.get("data.sets", NOTHING))
    if data:
        return (
            f"{sets}: {count(data.get('users'))} users, {count(data.get('items'))} items,"
            f" {count(data.get('interactions'))} interactions; split {data.get('split')}{_remarks(record)}"
        )
    users = sum(member.users or 0 for member in history.members.values())
    return f"{sets}: {count(users)} users at {len(history.members)} clients" if users else sets


def _remarks(record: Record) -> str:
    reasons = {"met_before": "had their test items before", "untried": "have no history or no test item"}
    repeated = reals(record.part("data")).get("repeated")
    if repeated:
        return f"; {count(repeated)} rows repeat the user, item and moment of another"
    found = reals(record.part("data", "untested"))
    told = [f"{count(found[key])} {reason}" for key, reason in reasons.items() if found.get(key)]
    return f"; users who cannot be tested: {', '.join(told)}" if told else ""
