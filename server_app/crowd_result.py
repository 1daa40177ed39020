"""``result.json`` of a click model's run: the same places as any run's, with the metrics of clicks."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from common.click_counts import STEPS
from common.config import RunConfig
from common.memory_use import peak_memory
from common.metrics import balance
from common.scopes import Scope
from server_app.crowd_rounds import CrowdRounds
from server_app.result import run_facts, void

METRICS = ("auc", "logloss", "precision", "recall", "f1")


def crowd_result(
    config: RunConfig, run: str, created: str, seconds: float, rounds: CrowdRounds
) -> dict[str, Any]:  # fmt: skip
    """The result of a click model's run that has been measured; the parameters are those of ``server_app.result``."""
    return {
        "schema": 1,
        "run": run_facts(config, run, created, seconds, "simulation" if rounds.members.simulated else "deployment")
        | {
            "rounds": len(rounds.course),
            "void_rounds": void(rounds.course.done),
            "clients": len(rounds.members),
            "split": {"on": False, "k": None, "m": None, "layers": None},
        },
        "data": _data(config, rounds),
        "metrics": _metrics(rounds),
        "rounds": rounds.course.done,
        "cost": _cost(rounds),
        "privacy": _privacy(config, rounds),
    }  # fmt: skip


def _data(config: RunConfig, rounds: CrowdRounds) -> dict[str, Any]:
    facts = rounds.members.facts()
    digests = sorted({fact.digest for fact in facts})
    return {
        "name": " ".join(sorted({fact.dataset for fact in facts})),
        "digest": digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest(),
        "users": len(rounds.members),
        "items": max(fact.items for fact in facts),
        "interactions": sum(fact.interactions for fact in facts),
        "repeated": sum(fact.repeated for fact in facts),
        "split": " ".join(sorted({fact.split for fact in facts})),
        "generated": any(fact.generated for fact in facts),
        "division": {"open_share": config.click.open_share, "seed": config.click.division,
                     "open_users": len(rounds.click.base.record["division"]["open"])},
    }  # fmt: skip


def _metrics(rounds: CrowdRounds) -> dict[str, Any]:
    measured = rounds.measured
    clients = {
        client: {**{name: row[name] for name in METRICS}, "auc": row["auc"] if row["auc"] >= 0 else None,
                 "test_rows": int(row["rows"])}
        for client, row in sorted(measured.own["test"].items()) if row["rows"]
    }  # fmt: skip
    known = {name: {c: row[name] for c, row in clients.items() if row[name] is not None} for name in METRICS}
    no_test = {client: "no test rows" for client, row in measured.own["test"].items() if not row["rows"]}

    def all_rows(part: str) -> dict[str, Any]:
        found = dict(rounds.pooled(measured, part) or {})
        own = [row["auc"] for row in measured.own[part].values() if row["auc"] >= 0]
        return found | {"user_auc": float(np.mean(own)) if own else None}

    groups, start = {}, 0
    for attribute, size in rounds.click.groups.items():
        found = {str(code): measured.counts["test"].of(start + code) for code in range(size)}
        groups[attribute] = {code: metrics for code, metrics in found.items() if metrics}
        start += size
    return {
        "test": all_rows("test"),
        "validation": all_rows("valid"),
        "groups": groups,
        "clients": clients,
        "balance": {name: balance(values) if values else None for name, values in known.items()},
        "baselines": {"warm_start": all_rows("warm")},
        "missing": measured.failed | no_test | dict.fromkeys(rounds.members.away(), "away"),
        "auc_steps": STEPS,
    }


def _cost(rounds: CrowdRounds) -> dict[str, Any]:
    click, traffic = rounds.click, rounds.traffic
    state = click.model.state_dict()

    def count(*scopes: Scope) -> int:
        return sum(tensor.numel() for name, tensor in state.items() if click.scopes[name] in scopes)

    whole = sum(parameter.numel() for parameter in click.base.model.parameters())
    held = sum(tensor.numel() for tensor in state.values())
    up, down, alone = (
        float(np.mean(traffic[name])) if traffic[name] else None for name in ("up", "down", "down_alone")
    )
    return {
        "client": {
            "parameters": held,
            "parameters_whole": whole,
            "trained_parameters": held - count(Scope.FROZEN),
            "uploaded_parameters": count(Scope.SHARED, Scope.GROUP),
            "weights_bytes": 4 * held,
            "weights_bytes_whole": 4 * whole,
            "peak_memory_bytes": rounds.measured.peak_memory,
            "flops_per_step": None,
            "bytes_up": up,
            "bytes_down": down,
            "bytes_down_alone": alone,
            "share_of_whole_up": None if up is None else up / (4 * whole),
            "share_of_whole_down": None if alone is None else alone / (4 * whole),
        },
        "server": {"peak_memory_bytes": peak_memory(), "hosted_parameters": None},
    }


def _privacy(config: RunConfig, rounds: CrowdRounds) -> dict[str, Any]:
    release, local = rounds.release, config.strategy.name == "local"
    noise = None
    if release is not None:
        noise = {"scale": release.scale, "clip": release.clip, "epsilon": release.epsilon}
    return {
        "mechanism": release and release.mechanism.value,
        "epsilon": rounds.epsilon if release else None,
        "delta": release.delta if release else None,
        "release": noise,
        "leak": None,
        "assumptions": _LOCAL if local else _GROUPS + (_NOISED if release else _PLAIN),
    }


_GROUPS = "Which group tensors a client takes part in tells the server its value of every grouping attribute. "
_PLAIN = (
    "No noise is added: whoever runs the server sees each client's gradients, and can learn from them about its rows."
)
_NOISED = (
    "Each upload is clipped and noised on the client before it is stacked. Neighbours are any two data sets of one client,"
    " all rows replaced at once; epsilon is the most that any client's releases cost together, over all rounds and"
    " resumes. Not covered: that a client takes part, its groups, and what is measured for this report (metrics, counts"
    " of rows). Noise is drawn as floating-point numbers."
)
_LOCAL = "Nothing that was trained leaves a client; metrics and counts of rows do, for this report."
