"""Sections that every exported model's card has: its data, how it was trained, and what protects it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def trained_on(data: Mapping[str, Any]) -> str:
    """``data`` : of ``result.json``."""
    return f"""`{data["name"]}`{" (generated data: no claim about real users)" if data["generated"] else ""}: \
{data["users"]:,} users, {data["items"]:,} items, {data["interactions"]:,} interactions, split {data["split"]}, digest \
`{data["digest"]}`."""


def how(run: Mapping[str, Any], split: str) -> str:
    """``run`` : of ``result.json``. ``split`` : where the layers were, in words."""
    return f"""Strategy `{run["strategy"]}`, {run["rounds"]} rounds, {run["clients"]} clients, {split}, seed {run["seed"]}, \
recipe `{run["recipe"] or "-"}`, commit `{run["commit"] or "unknown"}`. Versions: \
{", ".join(f"{name} {value}" for name, value in run["versions"].items())}."""


def protection(privacy: Mapping[str, Any]) -> str:
    """``privacy`` : of ``result.json``."""
    mechanism = privacy["mechanism"] or "none"
    if mechanism != "none":
        mechanism += f", epsilon {privacy['epsilon']}, delta {privacy['delta']}"
    return f"Mechanism: {mechanism}. {privacy['assumptions']}"
