"""The configuration reference, from the typed configuration: ``python -m fellrec.reference > docs/configuration.md``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Literal, get_args, get_origin

from common.config import RunConfig
from common.config.section import Section


def reference() -> str:
    """All settings with their defaults and what they mean, as Markdown."""
    lines = [
        "# Configuration",
        "",
        "Every setting of a run. A recipe (`recipes/*.toml`) or `--run-config` overrides some of them;",
        "`fellrec check RECIPE` says whether that is right, without starting anything.",
        "This page is generated from `common/config/sections.py`: `python -m fellrec.reference > docs/configuration.md`.",
    ]
    return "\n".join([*lines, *_section(RunConfig(), "", "The run")]) + "\n"


def _section(section: Section, prefix: str, title: str) -> Iterator[str]:
    fields = type(section).model_fields
    inner = {name: getattr(section, name) for name in fields if isinstance(getattr(section, name), Section)}
    yield from ("", f"## {title}", "", "| setting | default | choices | what it is |", "| --- | --- | --- | --- |")
    for name, field in fields.items():
        if name not in inner:
            choices = (
                ", ".join(f"`{choice}`" for choice in get_args(field.annotation))
                if get_origin(field.annotation) is Literal
                else ""
            )
            yield f"| `{prefix}{field.alias}` | `{json.dumps(getattr(section, name))}` | {choices} | {field.description} |"
    for name, value in inner.items():
        key = name.replace("_", "-")
        yield from _section(value, f"{prefix}{key}.", (type(value).__doc__ or key).split("\n")[0].rstrip("."))


if __name__ == "__main__":
    print(reference(), end="")
