"""``result.json``: one object that says what ran, on what, what came out and what it cost. What does not apply is null."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from common.config import RunConfig
from common.memory_use import peak_memory
from common.messages import COST, GROUNDED, ClientFacts, EvaluateReport, Ranking
from common.metrics import METRICS, balance, weighted
from common.version import VERSION
from server_app.clients import Clients
from server_app.strategy import FederatedRecommenders

ASSUMPTIONS = (
    "No noise is added. Whoever runs the server sees each client's adapter and, where it hosts layers, hidden states and"
    " their gradients: both can leak the texts that were read. No depth of the cut is a guarantee."
)
PACKAGES = ("flwr", "torch", "transformers", "peft")


def result_of(
    config: RunConfig,
    run: str,
    created: str,
    mode: str,
    seconds: float,
    strategy: FederatedRecommenders,
    rounds: list[dict[str, Any]],
) -> dict[str, Any]:
    """The result of a run that has been measured.

    Parameters
    ----------
    created : when the run began, ISO 8601. mode : ``simulation`` or ``deployment``. seconds : of the whole run.
    """
    reports = strategy.measured.reports
    return {
        "schema": 1,
        "run": run_facts(config, run, created, seconds, mode)
        | {
            "rounds": len(rounds), "void_rounds": void(rounds), "clients": len(strategy.clients),
            "split": _split(config, strategy),
        },
        "data": _data(strategy.clients),
        "metrics": _metrics(strategy.clients, reports) | {"missing": missing(strategy)},
        "rounds": rounds,
        "cost": _cost(strategy, reports),
        "privacy": {
            "mechanism": None, "epsilon": None, "delta": None, "leak": None,
            "assumptions": ASSUMPTIONS,
        },
    }  # fmt: skip


def void(rounds: Iterable[Mapping[str, Any]]) -> int:
    """How many rounds changed nothing, since too few clients answered."""
    return sum(bool(record["void"]) for record in rounds)


def run_facts(config: RunConfig, run: str, created: str, seconds: float, mode: str) -> dict[str, Any]:
    """What every result says of its run; the parameters are those of :func:`result_of`."""
    packages = {package: version(package) for package in PACKAGES}
    return {
        "id": run,
        "commit": commit(),
        "created": created,
        "recipe": config.recipe or None,
        "seed": config.seed,
        "strategy": config.strategy.name,
        "recommender": config.model.recommender,
        "model": config.model.name,
        "versions": {"python": platform.python_version(), **packages, "fellrec": VERSION},
        "mode": mode,
        "seconds": round(seconds, 3),
    }


def missing(strategy: FederatedRecommenders) -> dict[str, str]:
    """The clients that the metrics leave out: away, failed, or without a test user."""
    found = {}
    for client, member in strategy.clients:
        report = strategy.measured.reports.get(client)
        if report is None:
            found[client] = strategy.measured.failed.get(client, "away" if member.node is None else "failed")
        elif not report.rankings["test"].users:
            reasons = untested([member.facts])
            found[client] = (
                f"no test users: {reasons['met_before']} had their test items before, {reasons['untried']} have no history"
                " or no test item"
            )
    return found


def _split(config: RunConfig, strategy: FederatedRecommenders) -> dict[str, Any]:
    if strategy.hosting is None:
        return {"on": False, "k": None, "m": None, "layers": None}
    return {"on": True, "k": config.split.k, "m": config.split.m, "layers": strategy.hosting.layers}


def commit() -> str | None:
    """The commit that runs: as the ``fellrec`` command told it (Flower runs a copy), else that of the checkout."""
    told = os.environ.get("FELLREC_COMMIT")
    if told:
        return told
    root = Path(__file__).resolve().parent
    try:
        asked = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return asked.stdout.strip() or None


def _data(clients: Clients) -> dict[str, Any]:
    """The federation's data: sums over clients; a catalogue that several clients share counts once."""
    facts = [member.facts for _, member in clients]
    catalogues = {fact.catalogue: fact.items for fact in facts}
    return {
        "name": " ".join(sorted({fact.dataset for fact in facts})),
        "digest": hashlib.sha256("".join(fact.digest for fact in facts).encode()).hexdigest(),
        "users": sum(fact.users for fact in facts),
        "untested": untested(facts),
        "items": sum(catalogues.values()),
        "interactions": sum(fact.interactions for fact in facts),
        "split": " ".join(sorted({fact.split for fact in facts})),
        "generated": any(fact.generated for fact in facts),
    }


def untested(facts: Iterable[ClientFacts]) -> dict[str, int]:
    """The users who cannot be tested, by reason: all their test items in the history, or no history or test item."""
    known = list(facts)
    met_before = sum(fact.met_before for fact in known)
    return {
        "met_before": met_before,
        "untried": sum(fact.users - fact.test_users for fact in known) - met_before,
    }


def _metrics(clients: Clients, reports: Mapping[str, EvaluateReport]) -> dict[str, Any]:
    tested = {client: report.rankings for client, report in reports.items() if report.rankings["test"].users}
    users = {client: rankings["test"].users for client, rankings in tested.items()}

    def mean(name: str) -> dict[str, float]:
        return weighted({client: rankings[name].values for client, rankings in tested.items()}, users)

    return {
        "test": mean("test"),
        "model": mean("model"),
        "clients": {
            client: {
                **rankings["test"].values,
                "test_users": users[client],
                "train_interactions": clients[client].facts.train_interactions,
                "own_share": reports[client].share,
                "evidence": dict(reports[client].evidence),
                "model": dict(rankings["model"].values),
                "baselines": {name: dict(rankings[name].values) for name in ("popularity", "item_knn")},
            }
            for client, rankings in tested.items()
        },
        "balance": {
            name: balance({client: r["test"].values[name] for client, r in tested.items()}) for name in METRICS
        },
        "baselines": {name: mean(name) for name in ("popularity", "item_knn")},
        "grounding": _grounding(tested, users, reports),
    }


def _grounding(
    tested: Mapping[str, Mapping[str, Ranking]], users: Mapping[str, int], reports: Mapping[str, EvaluateReport]
) -> dict[str, Any] | None:
    """Of a generative recommender: each way of grounding that was measured, and the share of outputs that are titles."""
    if not all(reports[client].generation for client in tested):
        return None

    def mean(name: str) -> dict[str, float]:
        return weighted({client: rankings[name].values for client, rankings in tested.items()}, users)

    exact = weighted({client: {"exact": reports[client].generation["exact"]} for client in tested}, users)
    measured = {
        way: {"test": mean(served), "model": mean(alone)}
        for way, (served, alone) in GROUNDED.items()
        if all(served in rankings for rankings in tested.values())
    }
    return {**exact, **measured}


def _cost(strategy: FederatedRecommenders, reports: Mapping[str, EvaluateReport]) -> dict[str, Any]:
    """What a client pays: bytes (adapters and hidden states) in the mean over clients and rounds, the rest at most."""
    costs = [report.cost for report in reports.values()]
    members = [member for _, member in strategy.everybody()]

    def most(name: str) -> int:
        return int(max(cost[name] for cost in costs))

    return {
        "client": {
            **{name: most(name) for name in COST},
            "bytes_up": _mean(byte for member in members for byte in member.bytes_up),
            "bytes_down": _mean(byte for member in members for byte in member.bytes_down),
        },
        "server": {
            "peak_memory_bytes": peak_memory(),
            "hosted_parameters": strategy.hosting and strategy.hosting.hosted_parameters,
        },
    }


def _mean(values: Iterable[int]) -> float | None:
    found = list(values)
    return sum(found) / len(found) if found else None
