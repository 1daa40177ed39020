"""A result as a few lines of text."""

from __future__ import annotations

from typing import Any

COLUMNS = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")


def result_table(result: dict[str, Any]) -> list[str]:
    """Per client and in the mean: the recommender beside its baselines; one line each, columns aligned."""
    metrics = result["metrics"]
    rows = [("", "users", *("R@10", "R@20", "N@10", "N@20"), "popularity R@10", "item-kNN R@10")]
    for client, row in metrics["clients"].items():
        baselines = row["baselines"]
        rows.append((client, str(row["test_users"]), *(f"{row[name]:.4f}" for name in COLUMNS),
                     f"{baselines['popularity']['recall@10']:.4f}", f"{baselines['item_knn']['recall@10']:.4f}"))  # fmt: skip
    users = sum(row["test_users"] for row in metrics["clients"].values())
    baselines = metrics["baselines"]
    rows.append(("all", str(users), *(f"{metrics['test'][name]:.4f}" for name in COLUMNS),
                 f"{baselines['popularity']['recall@10']:.4f}", f"{baselines['item_knn']['recall@10']:.4f}"))  # fmt: skip
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(w) if not i else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    note = ["(generated data: no claim about real users)"] if result["data"]["generated"] else []
    return lines + note
