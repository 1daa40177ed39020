"""The card of an exported click model: what it was trained on and how, what was measured, and a program that runs it."""

from __future__ import annotations

import importlib.resources
import json
from collections.abc import Mapping
from typing import Any

from common.config import RunConfig
from fellrec.card_sections import how, protection, trained_on

METRICS = ("auc", "logloss", "precision", "recall", "f1")


def click_card(client: str, config: RunConfig, result: Mapping[str, Any], told: Mapping[str, Any], moved: float) -> str:
    """README.md.

    Parameters
    ----------
    told : what ``config.json`` holds. moved : the largest difference that training makes to the logit of a probe.
    """
    code = importlib.resources.files("fellrec.card_code").joinpath("click.py").read_text(encoding="utf-8")
    user, items = (_example(told[what]) for what in ("user", "item"))
    untrained = " It computes what the run started with: nothing was learned." if moved == 0 else ""
    return f"""---
tags: [fellrec, recommendation, click-model, federated-learning]
---

# Click model of client `{client}`

The whole model of one person from the fellrec run `{result["run"]["id"]}`, as this client was measured with it: the \
probability that it clicks on an item.{untrained}

## Trained on

{trained_on(result["data"])} No rows are in this folder. The model is one person's all the same: which embeddings have moved, \
and which groups' paths these are, can give away that person's attributes.

## How

{how(result["run"], "the whole model on the client")}

## Measured

{_metrics(client, result["metrics"])}

## Privacy

{protection(result["privacy"])}

## Load it

`model.safetensors` holds every tensor, `config.json` the values of each attribute in the order of their codes and the paths \
of each layer. {_groups(told)}

```python
{code}

model = ClickModel("this folder")
```

```python
user = {json.dumps(user[0])}
items = {json.dumps(items)}
print(model.logits(user, items).sigmoid())
```

What a person has been shown already is not left out here.
"""


def _example(attributes: Mapping[str, list[str]]) -> list[dict[str, str]]:
    """Two rows of values that the log has, nobody's."""
    return [{name: values[min(place, len(values) - 1)] for name, values in attributes.items()} for place in (1, 2)]


def _groups(told: Mapping[str, Any]) -> str:
    groups = [path.partition(".")[2] for path in told["layers"][0]["paths"] if path.startswith("groups.")]
    if not groups:
        return "Give the client's own attributes as the user's."
    return f"Give the client's own attributes as the user's: the paths of {', '.join(groups)} are those of its own groups alone."


def _metrics(client: str, metrics: Mapping[str, Any]) -> str:
    rows = {"all clients": metrics["test"], "all clients, the warm start": metrics["baselines"]["warm_start"]}
    own = metrics["clients"].get(client)
    if own is not None:
        rows = {f"this client, {own['test_rows']:,} test rows": own} | rows
    lines = [f"| | {' | '.join(METRICS)} |", "| --- " * (len(METRICS) + 1) + "|"]
    lines += [f"| {name} | {' | '.join(_number(row.get(m)) for m in METRICS)} |" for name, row in rows.items()]
    return "\n".join(lines)


def _number(value: float | None) -> str:
    """A client whose rows were all clicked, or none, has no AUC."""
    return "-" if value is None else f"{value:.4f}"
