"""The card of an exported adapter: what it was trained on and how, what was measured, what protects it, how to load it."""

from __future__ import annotations

import importlib.resources
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.config import RunConfig
from common.models import EMBEDDED, EMBEDDED_PACKAGE
from fellrec.card_sections import how, protection, trained_on
from fellrec.export_settings import encoded_by

METRICS = ("recall@10", "recall@20", "ndcg@10", "ndcg@20")


ENCODED = {
    "base": "the base model without the adapter makes the items' vectors",
    "adapter": "the base model with the adapter makes the items' vectors",
    "file": "the items' vectors are in `items.safetensors`, one row an item in the order of the client's catalogue: they were"
    " frozen during the run, and the weights that made them are gone",
}
"""What the card says of the item matrix, by what :func:`~fellrec.export_settings.encoded_by` tells."""


def adapter_card(
    client: str, config: RunConfig, result: Mapping[str, Any], base: str, hub: str | None, moved: float
) -> str:
    """README.md in the hub's form.

    Parameters
    ----------
    base : digest of the base model's weights. hub : its name on the hub, if it has one. moved : the largest difference
        that the adapter makes to what the base model says.
    """
    run, data, privacy = result["run"], result["data"], result["privacy"]
    gated = config.model.adapter == "gated"
    library = "" if gated else "library_name: peft\n"
    base_line = f"base_model: {hub}\n" if hub else ""
    split = "the whole model on the client"
    if config.split.on:
        split = f"{config.split.k} first and {config.split.m} last layers on the client, those between on the server"
    started = " It computes what the base model does: nothing was learned." if moved == 0 else ""
    return f"""---
{library}{base_line}tags: [fellrec, recommendation, {config.model.adapter}, federated-learning]
---

# Adapter of client `{client}`

{"Gated two-level adapters (FedPA, arXiv 2405.04840)" if gated else "A LoRA adapter"} from the fellrec run `{run["id"]}`, \
as this client serves with it.{started}

## Base model

`{hub or _place(config.model.name)}` in {config.model.dtype}, digest of its weights `{base}`. Rank \
{config.fedpa.rank if gated else config.model.lora_rank}, alpha \
{config.fedpa.alpha if gated else config.model.lora_alpha:g}.

## Trained on

{trained_on(data)} {_inside(config)}

## How

{how(run, split)}

## Measured

{_metrics(client, result["metrics"])}

## Privacy

{protection(privacy)}

## Load it

{_loading(config, hub)}"""


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


def _inside(config: RunConfig) -> str:
    if encoded_by(config) == "file":
        return (
            "Of the data this folder holds `items.safetensors`, a vector of each item's text; an adapter can give away what it"
            " was trained on as well."
        )
    return "No data are in this folder; an adapter can give away what it was trained on all the same."


def _loading(config: RunConfig, hub: str | None) -> str:
    kind, resolving = config.model.recommender, ""
    base = f'"{hub}"' if hub else '"the base model\'s folder"'
    if config.model.name == EMBEDDED:
        base = f'resolve("{EMBEDDED}")'
        resolving = "from common.models import resolve  # fellrec's: finds the installed encoder\n\n"
    code = importlib.resources.files("fellrec.card_code")
    program = "\n\n".join(
        code.joinpath(f"{part}.py").read_text(encoding="utf-8") for part in (config.model.adapter, kind)
    )
    return f"""The folder holds the adapter, the tokenizer and `recommender.json`: how texts are put together, their lengths, and
how scores are made of what the model says. In this run {ENCODED[encoded_by(config)]}{_turned(config)}. With the base
model named above, the following gives the row "this model alone"{_nearly(config)}.

```python
{program}

{resolving}recommender = Recommender("this folder", {base})
```

With the client's catalogue in its order, every attribute of an item in its order, and a user's positions in it, oldest first:

```python
recommender.read([{{"title": "The Red Fox", "category": "Animals"}}, {{"title": "A Blue Bear", "category": "Animals"}}])
print(recommender.scores([[0]]))
```

Higher is better. What a user has seen is left out of the ranking, and a tie counts against the item that is looked for.
"""


def _nearly(config: RunConfig) -> str:
    if config.split.on and config.split.codec != "fp32":
        return f", but for what sending hidden states in {config.split.codec} changed in the run"
    return ""


def _turned(config: RunConfig) -> str:
    if config.model.recommender != "encoder" or not config.model.projection:
        return ""
    return "; users' and items' vectors are turned by `projection.safetensors`, for which PEFT has no place"
