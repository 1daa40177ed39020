"""Names of metrics, baselines and costs as the report writes them."""

from __future__ import annotations

from collections.abc import Iterable

METRICS = {
    "recall@10": "R@10",
    "recall@20": "R@20",
    "ndcg@10": "N@10",
    "ndcg@20": "N@20",
    "auc": "AUC",
    "user_auc": "AUC by user",
    "logloss": "log-loss",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
}
RECOMMENDERS = {"popularity": "popularity", "item_knn": "item-kNN", "warm_start": "the warm start alone"}
BALANCE = {
    "worst": "worst client",
    "worst_decile": "worst tenth of the clients",
    "range": "largest minus smallest",
    "std": "standard deviation",
    "jain": "Jain index (1: all alike)",
}
COUNTS = {"rows", "users", "judged_users"}
"""Keys beside metrics that are no metrics."""


def metric(name: str) -> str:
    """A metric's name for a table head."""
    return METRICS.get(name, name)


def recommender(name: str) -> str:
    """A baseline's name for a table."""
    return RECOMMENDERS.get(name, name.replace("_", " "))


def metrics_in(found: Iterable[str]) -> list[str]:
    """The metrics among some keys: those that are known in their order, then the others."""
    there = [name for name in found if name not in COUNTS]
    return [name for name in METRICS if name in there] + [name for name in there if name not in METRICS]


def primary(found: Iterable[str]) -> str:
    """The metric that curves and bars show: R@10 for rankings, AUC for clicks, else the first."""
    there = metrics_in(found)
    return next((name for name in ("recall@10", "auc") if name in there), there[0] if there else "recall@10")
