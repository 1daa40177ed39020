"""The card of a model that fellrec pre-trained: what it was made from, and what it is for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def model_card(name: str, record: Mapping[str, Any]) -> str:
    """README.md in the hub's form, from the record of :func:`fellrec.pretraining.pretrain`."""
    settings = record["settings"]
    sources = "\n".join(
        f"- `{one['name']}`: {one['items']:,} items, digest `{one['digest']}`" for one in record["catalogues"]
    )
    return f"""---
library_name: transformers
pipeline_tag: text-generation
tags: [fellrec, recommendation]
---

# {name}

A small Llama, pre-trained by fellrec on the text of item catalogues, as a base for federated recommendation.

## Trained on

{sources}

These give {record["titles"]:,} distinct titles. The training text is each item's attributes, and lists of titles that
share words or attribute values, written as recommendation prompts. No interaction of anybody went into it, no popularity, and no
"also bought" field; nobody's history can be in its weights. The terms of the catalogues hold for their titles, which
the model can repeat word for word.

## Shape and training

{record["parameters"]:,} parameters: {settings["layers"]} layers of width {settings["width"]},
{settings["heads"]} heads, byte-level BPE with {record["vocabulary"]:,} tokens, tied embeddings, float32.
{record["steps"]:,} steps of {settings["batch"]} sequences in {record["seconds"]:.0f} s, seed {settings["seed"]}; the last loss
was {record["loss"]:.3f} nats a token. Digest of text and settings: `{record["digest"]}`.

The prompt is Alpaca's form with this instruction:

> {settings["instruction"]}

## Limits

It knows these titles and little else: no language beyond them, no facts. Other catalogues need a model of their own.
"""
