"""A result as a few lines of text."""

from __future__ import annotations

from typing import Any

COLUMNS = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")
CLICKS = ("auc", "user_auc", "logloss", "precision", "recall", "f1")


def result_table(result: dict[str, Any]) -> list[str]:
    """Per client and in the mean: the recommender beside its baselines; one line each, columns aligned."""
    metrics = result["metrics"]
    if "auc" in metrics["test"]:
        return _click_table(result)
    rows: list[tuple[str, ...]] = [("", "users", *("R@10", "R@20", "N@10", "N@20"), "popularity R@10", "item-kNN R@10")]
    for client, row in metrics["clients"].items():
        baselines = row["baselines"]
        rows.append(
            (
                client,
                str(row["test_users"]),
                *(f"{row[name]:.4f}" for name in COLUMNS),
                f"{baselines['popularity']['recall@10']:.4f}",
                f"{baselines['item_knn']['recall@10']:.4f}",
            )
        )
    users = sum(row["test_users"] for row in metrics["clients"].values())
    baselines = metrics["baselines"]
    rows.append(
        (
            "all",
            str(users),
            *(f"{metrics['test'][name]:.4f}" for name in COLUMNS),
            f"{baselines['popularity']['recall@10']:.4f}",
            f"{baselines['item_knn']['recall@10']:.4f}",
        )
    )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(w) if not i else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return lines + _untested(result["data"].get("untested", {})) + _notes(result)


def _untested(found: dict[str, int]) -> list[str]:
    reasons = {"met_before": "had their test items before", "untried": "have no history or no test item"}
    told = [f"{found[key]} {reason}" for key, reason in reasons.items() if found.get(key)]
    return [f"users who cannot be tested: {', '.join(told)}"] if told else []


def _notes(result: dict[str, Any]) -> list[str]:
    """What qualifies every number of the table."""
    run, notes = result["run"], []
    if void := run.get("void_rounds", 0):
        notes.append(f"({void} of {run['rounds']} rounds were void: too few clients answered, and nothing was mixed)")
    if result["data"]["generated"]:
        notes.append("(generated data: no claim about real users)")
    return notes


def _click_table(result: dict[str, Any]) -> list[str]:
    """A click model's run has too many clients for a line each: what all rows give, and how even clients fare."""
    metrics, cost, privacy = result["metrics"], result["cost"]["client"], result["privacy"]
    lines = []
    parts = {
        "validation": metrics["validation"],
        "test": metrics["test"],
        "warm start, test": metrics["baselines"]["warm_start"],
    }
    for part, found in parts.items():
        told = (f"{name} {value:.4f}" for name in CLICKS if (value := found.get(name)) is not None)
        lines.append(f"{part.ljust(16)}  {found['rows']} rows: {', '.join(told)}")
    even = metrics["balance"]["auc"]
    if even is not None:
        lines.append(
            f"{len(metrics['clients'])} clients' own AUC: worst tenth {even['worst_decile']:.4f}, Jain {even['jain']:.4f}"
        )
    if cost["bytes_up"] is not None:
        lines.append(
            f"a client and round: {cost['bytes_up'] / 1024:.1f} KiB up, {cost['share_of_whole_up']:.2%} of the whole model"
        )
    if privacy["mechanism"]:
        lines.append(
            f"{privacy['mechanism']} noise: epsilon {privacy['epsilon']:.3g} at delta {privacy['delta']:.0e} a client"
        )
    repeated = result["data"].get("repeated")
    if repeated:
        lines.append(f"{repeated} rows repeat the user, item and moment of another")
    return lines + _notes(result)
