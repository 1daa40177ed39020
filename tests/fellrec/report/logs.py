"""Logs and results as a run writes them, of any size and with any names."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common.config import RunConfig, flatten
from common.run_folder import RunFolder

Events = list[dict[str, Any]]
CLIENTS = ("north", "south", "west")


def log(clients: Sequence[str] = CLIENTS, rounds: int = 2, metric: str = "recall@10", of: int | None = None) -> Events:
    """The events of a run up to the end of its last round, a second apart from 1000 on."""
    found: Events = [{"event": "run_started", "run": "one", "folder": "/runs/one", "flower_run": "1"}]
    told = {"users": 10, "items": 9, "train_interactions": 50, "dataset": "toy"}
    found += [{"event": "joined", "clients": {client: told}, "back": []} for client in clients]
    strategy = {"name": "fellrec", "scopes": {"personal": ["x.lora_A.weight"]}, "rules": {"personal": "Fellrec()"}}
    found.append({"event": "strategy", **strategy, "heating": True, "pacing": True, "own_share": True, "pooled": False})
    for number in range(1, rounds + 1):
        found += a_round(clients, number, of or rounds, metric)
    return timed(found)


def a_round(clients: Sequence[str], number: int, of: int, metric: str = "recall@10") -> Events:
    """One round in which everybody answers; weights and values differ by client."""
    measured = {client: 0.1 + 0.01 * place + 0.02 * number for place, client in enumerate(clients)}
    mean = sum(measured.values()) / len(measured)
    return [
        {
            "event": "round_started",
            "round": number,
            "of": of,
            "clients": list(clients),
            "quorum": 2,
            "messages": len(clients),
        },
        *({"event": "replied", "round": number, "clients": [client], "ok": True} for client in clients),
        {
            "event": "validated",
            "round": number - 1,
            "metric": metric,
            "means": {metric: mean},
            "balance": {"worst": 0.1, "jain": 0.99},
            "clients": measured,
        },
        {
            "event": "round_ended",
            "round": number,
            "seconds": {"train": 2.0, "aggregate": 0.1, "evaluate": 1.0},
            "loss": 3.0 - number / 10,
            "clients_ok": len(clients),
            "clients_failed": {},
            "void": False,
            "weights": {
                to: {
                    by: (2.0 if to == by else 1.0 + 0.1 * place) / (len(clients) + 2)
                    for place, by in enumerate(clients)
                }
                for to in clients
            },
            "clients": {
                client: {
                    "loss": 3.0 + place,
                    "size": 8,
                    "share": 0.5,
                    "heat": 0.6 + 0.1 * number,
                    "seconds": {"train": 1.5, "evaluate": 0.5},
                }
                for place, client in enumerate(clients)
            },
        },
    ]


def timed(events: Events, start: float = 1000.0) -> Events:
    """The events with their times, a second apart."""
    return [{**event, "time": start + second} for second, event in enumerate(events)]


def result(clients: Sequence[str] = CLIENTS, metric: str = "recall@10", **parts: Any) -> dict[str, Any]:
    """A result in which each client's baselines differ from what it serves."""

    def values(value: float) -> dict[str, float]:
        return {metric: value}

    return {
        "schema": 1,
        "run": {
            "id": "one",
            "commit": "abc123",
            "rounds": 2,
            "clients": len(clients),
            "split": {"on": True, "layers": 6},
            "versions": {"flwr": "1"},
            "mode": "simulation",
            "seconds": 42.0,
        },
        "data": {
            "name": "toy",
            "digest": "d1",
            "users": 30,
            "items": 9,
            "interactions": 150,
            "split": "leave-last-out",
            "generated": True,
        },
        "metrics": {
            "test": values(0.25),
            "model": values(0.125),
            "clients": {
                client: {
                    metric: 0.25,
                    "test_users": 10,
                    "train_interactions": 50,
                    "own_share": 0.5,
                    "evidence": {"popularity": 0.5},
                    "model": values(0.125),
                    "baselines": {"popularity": values(0.0625), "item_knn": values(0.1875)},
                }
                for client in clients
            },
            "balance": {metric: {"worst": 0.25, "worst_decile": 0.25, "range": 0.0, "std": 0.0, "jain": 1.0}},
            "baselines": {"popularity": values(0.0625), "item_knn": values(0.1875)},
            "grounding": None,
            "missing": {},
        },
        "rounds": [],
        "cost": {
            "client": {
                "parameters": 60,
                "parameters_whole": 80,
                "weights_bytes": 2048,
                "weights_bytes_whole": 4096,
                "bytes_up": 1024.0,
                "bytes_down": 512.0,
            },
            "server": {"peak_memory_bytes": 1 << 20, "hosted_parameters": 20},
        },
        "privacy": {
            "mechanism": None,
            "epsilon": None,
            "delta": None,
            "leak": None,
            "assumptions": "No noise is added.",
        },
    } | parts


def folder(
    path: Path, events: Events, ended: Mapping[str, Any] | None = None, config: Mapping[str, Any] | None = None
) -> RunFolder:
    """A run's folder with these files."""
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps(dict(flatten(RunConfig())) | dict(config or {})))
    (path / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    if ended is not None:
        (path / "result.json").write_text(json.dumps(ended))
    return RunFolder(path)
