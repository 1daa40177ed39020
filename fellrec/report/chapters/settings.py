"""The configuration, and how to run it again."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from common.config import RunConfig, flatten
from common.home import HOME_PREFIX
from fellrec.report.chapters.section import Section, paragraph, section
from fellrec.report.markup import Markup, tag
from fellrec.report.numbers import NOTHING
from fellrec.report.record import Record
from fellrec.report.tables import facts, folded, table

OF_THE_PLACE = ("run-name", "resume", "home")
"""Settings that say where a run's folder is, and nothing of what it does."""

GENERATED = "sample"
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def rebuild(record: Record) -> Section:
    """The commands that run the same again."""
    config, run = record.config, record.part("run")
    commands = []
    if run.get("commit"):
        commands.append(f"git checkout {run['commit']}")
    commands.append("make setup && . .venv/bin/activate")
    for name in _sets(config):
        if name != GENERATED:
            commands += ["# with --raw, or your own two tables: see docs/data.md", f"fellrec data prepare {name}"]
    place, made, model = str(config.get("model.name", "")).partition(HOME_PREFIX)
    if made and not place:
        commands.append(
            f"# model {model!r} was made on that machine: copy models/{model}, or make it again (fellrec pretrain)"
        )
    real = run.get("mode") == "deployment"
    commands.append("flwr run . --stream --run-config again.toml" if real else "fellrec run again.toml")
    digest = record.part("data").get("digest")
    return section(
        "rebuild",
        "How to run it again",
        paragraph(
            "All settings that differ from the defaults, as a recipe. Save it as ", tag("code", "again.toml"), ":"
        ),
        _block(recipe(config)),
        paragraph("Then:"),
        _block("\n".join(commands)),
        facts(
            [
                ("commit", str(run.get("commit") or "not known")),
                (
                    "versions",
                    ", ".join(f"{name} {version}" for name, version in record.part("run", "versions").items())
                    or NOTHING,
                ),
                *([("digest of the data", str(digest))] if digest else []),
            ]
        ),
        paragraph(
            "The data are the same where the new result has the same digest. The same seed on the same versions and the same"
            " machine gives the same numbers; other versions or processors may round otherwise."
        ),
    )


def settings(record: Record) -> Section:
    """Every setting with its default."""
    defaults = dict(flatten(RunConfig()))
    rows = [
        [
            key,
            _mark(json.dumps(value, ensure_ascii=False), key not in defaults or value != defaults[key]),
            json.dumps(defaults[key], ensure_ascii=False) if key in defaults else "not known to this release",
        ]
        for key, value in record.config.items()
    ]
    changed = sum(key not in defaults or value != defaults[key] for key, value in record.config.items())
    return section(
        "settings",
        "Configuration",
        paragraph(f"{len(rows)} settings, {changed} of them not the default (in bold)."),
        folded(
            "all-settings", "All settings", table("Settings", ["setting", "this run", "default"], rows, prose=(1, 2))
        ),
    )


def recipe(config: Mapping[str, Any]) -> str:
    """The settings that differ from the defaults, as a TOML recipe."""
    defaults = dict(flatten(RunConfig()))
    differing = {
        key: value for key, value in config.items() if key not in OF_THE_PLACE and value != defaults.get(key, None)
    }
    heads = [f"{_key(key)} = {_toml(value)}" for key, value in differing.items() if "." not in key]
    tables: dict[str, list[str]] = {}
    for key, value in differing.items():
        group, dot, name = key.partition(".")
        if dot:
            tables.setdefault(group, []).append(f"{_key(name)} = {_toml(value)}")
    parts = ["\n".join(heads)] if heads else []
    parts += ["\n".join([f"[{_key(group)}]", *entries]) for group, entries in tables.items()]
    return "\n\n".join(parts) or "# every setting is the default"


def _sets(config: Mapping[str, Any]) -> list[str]:
    return [part.rpartition(":")[0] or part for part in str(config.get("data.sets", "")).split()]


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _toml(name)


def _toml(value: Any) -> str:
    # JSON's text, numbers and truth values are TOML's too, but for the one control character that JSON leaves bare
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _mark(value: str, bold: bool) -> str | Markup:
    return tag("b", value) if bold else value


def _block(content: str) -> Markup:
    return tag("pre", tag("code", content), tabindex="0")
