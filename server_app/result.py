"""``result.json``: one object that says what ran, on what, what came out and what it cost. What does not apply is null.

Metrics have the form of what was measured (:mod:`server_app.result_metrics`); all else is the same for every model.
"""

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
from common.messages import COST, ClientFacts
from common.recommenders.click.run import click_run
from common.scopes import MIXED, Scope
from common.version import VERSION
from server_app.result_metrics import metrics_of
from server_app.strategy import FederatedRecommenders

PACKAGES = ("flwr", "torch", "transformers", "peft")


def result_of(strategy: FederatedRecommenders, created: str) -> dict[str, Any]:
    """The result of a run that has been measured.

    Parameters
    ----------
    strategy : FederatedRecommenders
        Strategy that has run to its end.
    created : str
        When the run began, ISO 8601.
    """
    return {
        "schema": 1,
        "run": _run(strategy, created),
        "data": _data(strategy),
        "metrics": metrics_of(strategy) | {"missing": missing(strategy)},
        "rounds": strategy.history.done,
        "cost": _cost(strategy),
        "privacy": _privacy(strategy),
    }


def void(rounds: Iterable[Mapping[str, Any]]) -> int:
    """How many rounds changed nothing, since too few clients answered."""
    return sum(bool(record["void"]) for record in rounds)


def missing(strategy: FederatedRecommenders) -> dict[str, str]:
    """The clients that the metrics leave out: away, failed, or without anything to test."""
    test, found = strategy.measured.measurements.get("test"), {}
    sizes = test.sizes() if test is not None else {}
    for client, member in strategy.members:
        if client not in sizes:
            found[client] = strategy.measured.failed.get(client, "away" if member.node is None else "failed")
        elif not sizes[client] and strategy.model.people:
            found[client] = "no test rows"
        elif not sizes[client]:
            reasons = untested([member.facts])
            found[client] = (
                f"no test users: {reasons['met_before']} had their test items before, {reasons['untried']} have no history"
                " or no test item"
            )
    return found


def untested(facts: Iterable[ClientFacts]) -> dict[str, int]:
    """The users who cannot be tested, by reason: all their test items in the history, or no history or test item."""
    known = list(facts)
    met_before = sum(fact.met_before for fact in known)
    return {"met_before": met_before, "untried": sum(fact.users - fact.test_users for fact in known) - met_before}


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


def _run(strategy: FederatedRecommenders, created: str) -> dict[str, Any]:
    config, history = strategy.config, strategy.history
    packages = {package: version(package) for package in PACKAGES}
    split: dict[str, bool | int | None] = {"on": False, "k": None, "m": None, "layers": None}
    if strategy.hosting is not None:
        split = {"on": True, "k": config.split.k, "m": config.split.m, "layers": strategy.hosting.layers}
    return {
        "id": strategy.folder.name,
        "commit": commit(),
        "created": created,
        "recipe": config.recipe or None,
        "seed": config.seed,
        "strategy": config.strategy.name,
        "recommender": config.model.recommender,
        "model": config.model.name,
        "versions": {"python": platform.python_version(), **packages, "fellrec": VERSION},
        "mode": "simulation" if strategy.members.simulated else "deployment",
        "seconds": round(history.seconds(), 3),
        "rounds": len(history),
        "void_rounds": void(history.done),
        "clients": len(strategy.members),
        "split": split,
    }


def _data(strategy: FederatedRecommenders) -> dict[str, Any]:
    """The federation's data: sums over clients; a catalogue that several clients share counts once."""
    facts = [member.facts for _, member in strategy.members]
    catalogues = {fact.set.catalogue: fact.set.items for fact in facts}
    digests = [fact.digest for fact in facts]
    if strategy.model.people:
        # clients that were dealt from one log have its digest
        digests = sorted(set(digests))
    return {
        "name": " ".join(sorted({fact.set.dataset for fact in facts})),
        "digest": digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest(),
        "users": sum(fact.users for fact in facts),
        "untested": untested(facts),
        "items": sum(catalogues.values()),
        "interactions": sum(fact.interactions for fact in facts),
        "repeated": sum(fact.repeated for fact in facts),
        "split": " ".join(sorted({fact.set.split for fact in facts})),
        "generated": any(fact.set.generated for fact in facts),
        "division": _division(strategy.config) if strategy.model.people else None,
    }


def _division(config: RunConfig) -> dict[str, Any]:
    """Which users a click model's warm start was made from; they are no clients."""
    return {
        "open_share": config.click.open_share,
        "seed": config.click.division,
        "open_users": len(click_run(config).base.record["division"]["open"]),
    }


def _cost(strategy: FederatedRecommenders) -> dict[str, Any]:
    """What a client pays: bytes (tensors and hidden states) in the mean over clients and rounds, the rest at most."""
    costs = [one["cost"] for one in strategy.measured.details.values() if "cost" in one]
    own = {name: int(max(cost[name] for cost in costs)) for name in COST} if costs else _counted(strategy)
    traffic = [member.traffic for _, member in strategy.everybody()]
    up = _ratio(sum(one.up for one in traffic), sum(one.rounds_up for one in traffic))
    down = _ratio(sum(one.down for one in traffic), sum(one.rounds_down for one in traffic))
    alone = _ratio(sum(strategy.alone), len(strategy.alone))
    whole = own["weights_bytes_whole"]
    return {
        "client": {
            **own,
            "uploaded_parameters": sum(tensor.numel() for tensor in strategy.model.of(*MIXED).values()),
            "bytes_up": up,
            "bytes_down": down,
            "bytes_down_alone": alone,
            "share_of_whole_up": None if up is None else up / whole,
            "share_of_whole_down": None if alone is None else alone / whole,
        },
        "server": {
            "peak_memory_bytes": peak_memory(),
            "hosted_parameters": strategy.hosting and strategy.hosting.hosted_parameters,
        },
    }


def _counted(strategy: FederatedRecommenders) -> dict[str, Any]:
    """The cost of a small model, whose clients count nothing: all of it follows from its shapes."""
    click = click_run(strategy.config)
    whole = sum(parameter.numel() for parameter in click.base.model.parameters())
    held = sum(tensor.numel() for tensor in click.model.state_dict().values())
    return {
        "parameters": held,
        "parameters_whole": whole,
        "trained_parameters": sum(tensor.numel() for tensor in strategy.model.start.values()),
        "weights_bytes": 4 * held,
        "weights_bytes_whole": 4 * whole,
        "peak_memory_bytes": int(strategy.measured.memory),
        "flops_per_step": None,
    }


def _ratio(total: float, count: int) -> float | None:
    return total / count if count else None


def _privacy(strategy: FederatedRecommenders) -> dict[str, Any]:
    noise, scopes = strategy.noise, set(strategy.model.scopes.values())
    leaves = bool(scopes & set(MIXED))
    assumptions = [_GROUPS] if Scope.GROUP in scopes else []
    if not leaves:
        assumptions = [_NOTHING]
    elif noise is None:
        assumptions.append(_PLAIN)
    else:
        assumptions.append(_NOISED)
    if strategy.hosting is not None:
        assumptions.append(_HOSTED)
    return {
        "mechanism": noise and noise.mechanism.value,
        "epsilon": strategy.epsilon if noise else None,
        "delta": noise.delta if noise else None,
        "release": noise and {"scale": noise.scale, "clip": noise.clip, "epsilon": noise.epsilon},
        "leak": None,
        "assumptions": " ".join(assumptions),
    }


_GROUPS = "Which group tensors a client takes part in tells the server its value of every grouping attribute."
_PLAIN = (
    "No noise is added: whoever runs the server sees what each client contributes (trained tensors or gradients), and can"
    " learn from it about its data."
)
_NOISED = (
    "Each contribution is clipped and noised on the client before it is sent. Neighbours are any two data sets of one"
    " client, all of it replaced at once; epsilon is the most that any client's releases cost together, over all rounds and"
    " resumes. Not covered: that a client takes part, its groups, and what is measured for this report (metrics, counts"
    " of users and rows). Noise is drawn as floating-point numbers."
)
_NOTHING = "Nothing that was trained leaves a client; metrics and counts do, for this report."
_HOSTED = (
    "The server hosts layers: it sees hidden states and their gradients, which can leak the texts that were read. No depth"
    " of the cut is a guarantee."
)
