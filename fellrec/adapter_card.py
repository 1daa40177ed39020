"""The card of an exported adapter: what it was trained on and how, what was measured, what protects it, how to load it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.config import RunConfig
from common.models import EMBEDDED, EMBEDDED_PACKAGE
from common.recommenders.build import causal

METRICS = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")


def adapter_card(
    client: str, config: RunConfig, result: Mapping[str, Any], base: str, hub: str | None, moved: float, pooling: str
) -> str:
    """README.md in the hub's form.

    Parameters
    ----------
    base : digest of the base model's weights. hub : its name on the hub, if it has one. moved : the largest difference
        that the adapter makes to what the base model says. pooling : how tokens become the vectors that a projection turns; ''
        where there is no projection.
    """
    run, data, privacy = result["run"], result["data"], result["privacy"]
    base_line = f"base_model: {hub}\n" if hub else ""
    noised = privacy["mechanism"] not in (None, "none")
    protection = privacy["mechanism"] if noised else "none"
    if noised:
        protection += f", epsilon {privacy['epsilon']}, delta {privacy['delta']}"
    split = "the whole model on the client"
    if config.split.on:
        split = f"{config.split.k} first and {config.split.m} last layers on the client, those between on the server"
    started = " It computes what the base model does: nothing was learned." if moved == 0 else ""
    return f"""---
library_name: peft
{base_line}tags: [fellrec, recommendation, lora, federated-learning]
---

# Adapter of client `{client}`

A LoRA adapter from the fellrec run `{run["id"]}`, personal to this client.{started}

## Base model

`{hub or _place(config.model.name)}` in {config.model.dtype}, digest of its weights `{base}`. Rank \
{config.model.lora_rank}, alpha {config.model.lora_alpha:g}.

## Trained on

`{data["name"]}`{" (generated data: no claim about real users)" if data["generated"] else ""}: {data["users"]:,} users, \
{data["items"]:,} items, {data["interactions"]:,} interactions, split {data["split"]}, digest `{data["digest"]}`. No data are in \
this folder; an adapter can give away what it was trained on all the same.

## How

Strategy `{run["strategy"]}`, {run["rounds"]} rounds, {run["clients"]} clients, {split}, seed {run["seed"]}, recipe \
`{run["recipe"] or "-"}`, commit `{run["commit"] or "unknown"}`. Versions: \
{", ".join(f"{name} {value}" for name, value in run["versions"].items())}.

## Measured

{_metrics(client, result["metrics"])}

## Privacy

Mechanism: {protection}. {privacy["assumptions"]}

## Load it

{_loading(config, hub, pooling)}"""


def _place(name: str) -> str:
    """What a model is called that has no name on the hub, without the path to it."""
    if name == EMBEDDED:
        return f"{EMBEDDED}: all-MiniLM-L6-v2 from the package {EMBEDDED_PACKAGE}"
    return Path(name).name


def _metrics(client: str, metrics: Mapping[str, Any]) -> str:
    row = metrics["clients"].get(client)
    if row is None:
        return "This client had no test users."
    lines = [
        f"On {row['test_users']:,} test users of this client, full ranking over its catalogue, seen items masked.",
        "",
    ]
    lines += [f"| | {' | '.join(METRICS)} |", "| --- " * (len(METRICS) + 1) + "|"]
    named = {"as served, with the client's own evidence": row, "this model alone": row["model"]}
    named |= {name.replace("_", "-"): values for name, values in row["baselines"].items()}
    lines += [f"| {name} | {' | '.join(f'{values[m]:.4f}' for m in METRICS)} |" for name, values in named.items()]
    return "\n".join(lines)


def _loading(config: RunConfig, hub: str | None, pooling: str) -> str:
    maker = "AutoModelForCausalLM" if causal(config.model) else "AutoModel"
    folder, helper = f'"{hub}"' if hub else '"the base model\'s folder"', ""
    if config.model.name == EMBEDDED:
        folder, helper = (
            f'resolve("{EMBEDDED}")',
            "\nfrom common.models import resolve  # fellrec's: finds the installed encoder",
        )
    dtype = {"fp32": "float32", "bf16": "bfloat16"}[config.model.dtype]
    text = f"""```python
import torch
from peft import PeftModel
from transformers import {maker}{helper}

base = {maker}.from_pretrained({folder}, dtype=torch.{dtype})
model = PeftModel.from_pretrained(base, "this folder").eval()
```
"""
    if causal(config.model):
        return (
            text
            + f"""
Prompts are in Alpaca's form, newest title last, with this instruction:

> {" ".join(config.generate.instruction.split())}
"""
        )
    if pooling:
        text += f"""
The recommender turns pooled vectors by two matrices [H, H], which PEFT has no place for. With the last hidden
states pooled (`{pooling}`) and brought to length 1, users `u` and items `v` score

```python
from safetensors.torch import load_file
from torch.nn.functional import normalize

turn = load_file("this folder/projection.safetensors")
users = normalize(u + u @ turn["user"].T, dim=-1)
items = normalize(v + v @ turn["item"].T, dim=-1)
scores = users @ items.T / {config.model.temperature:g}
```
"""
    return (
        text
        + f"""
A user is the text of the newest {config.model.history} items, newest first, `key: value` of each attribute; an item's
tokens weigh {config.model.recency:g} of the next newer one's in the mean.
"""
    )
