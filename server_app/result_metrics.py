"""The metrics of ``result.json``, drawn from what was measured: rankings of a catalogue, or counts of clicks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from common.evaluation.click_counts import STEPS
from common.evaluation.rankings import METRICS, balance, weighted
from common.messages import Clicks, Rankings
from common.messages.report import BASELINES, GROUNDED

if TYPE_CHECKING:
    from server_app.strategy import FederatedRecommenders

CLICK_METRICS = ("auc", "logloss", "precision", "recall", "f1")


def metrics_of(strategy: FederatedRecommenders) -> dict[str, Any]:
    """The metrics of a run that has been measured."""
    found = strategy.measured.measurements
    # all parts of a run are measured alike
    if isinstance(found["test"], Clicks):
        return _clicks(strategy, cast(Mapping[str, Clicks], found))
    return _rankings(strategy, cast(Mapping[str, Rankings], found))


def _rankings(strategy: FederatedRecommenders, found: Mapping[str, Rankings]) -> dict[str, Any]:
    details, shares = strategy.measured.details, strategy.measured.shares
    users = {client: count for client, count in found["test"].sizes().items() if count}
    tested = {name: {client: _values(one.of(client)) for client in users} for name, one in found.items()}

    def mean(name: str) -> dict[str, float]:
        return weighted(tested[name], users)

    return {
        "test": mean("test"),
        "model": mean("model"),
        "clients": {
            client: {
                **tested["test"][client],
                "test_users": users[client],
                "train_interactions": strategy.members[client].facts.train_interactions,
                "own_share": shares[client],
                "evidence": dict(details[client]["evidence"]),
                "model": tested["model"][client],
                "baselines": {name: tested[name][client] for name in BASELINES},
            }
            for client in users
        },
        "balance": {
            name: balance({client: values[name] for client, values in tested["test"].items()}) for name in METRICS
        },
        "baselines": {name: mean(name) for name in BASELINES},
        "grounding": _grounding(strategy, found, users, tested),
    }


def _values(row: Mapping[str, float]) -> dict[str, float]:
    return {name: row[name] for name in METRICS}


def _grounding(
    strategy: FederatedRecommenders,
    found: Mapping[str, Rankings],
    users: Mapping[str, int],
    tested: Mapping[str, Mapping[str, Mapping[str, float]]],
) -> dict[str, Any] | None:
    """Of a generative recommender: each way of grounding that was measured, and the share of outputs that are titles."""
    details = strategy.measured.details
    if not all("generation" in details[client] for client in users):
        return None
    exact = weighted({client: {"exact": details[client]["generation"]["exact"]} for client in users}, dict(users))
    measured = {
        way: {"test": weighted(dict(tested[served]), dict(users)), "model": weighted(dict(tested[alone]), dict(users))}
        for way, (served, alone) in GROUNDED.items()
        if served in found
    }
    return {**exact, **measured}


def _clicks(strategy: FederatedRecommenders, found: Mapping[str, Clicks]) -> dict[str, Any]:
    test = found["test"]
    clients = {
        client: {
            **{name: row[name] for name in CLICK_METRICS},
            "auc": row["auc"] if row["auc"] >= 0 else None,
            "test_rows": int(row["rows"]),
        }
        for client, row in test.rows().items()
        if row["rows"]
    }
    known = {
        name: {client: value for client, row in clients.items() if (value := row[name]) is not None}
        for name in CLICK_METRICS
    }
    groups, start = {}, 0
    for attribute, size in strategy.model.groups.items():
        counted = {str(code): test.counts.of(start + code) for code in range(size)}
        groups[attribute] = {code: metrics for code, metrics in counted.items() if metrics}
        start += size
    return {
        "test": test.means(),
        "validation": found["validation"].means() or {"user_auc": None},
        "groups": groups,
        "clients": clients,
        "balance": {name: balance(values) if values else None for name, values in known.items()},
        "baselines": {"warm_start": found["warm_start"].means()},
        "auc_steps": STEPS,
    }
