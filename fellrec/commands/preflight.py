"""``fellrec preflight``: whether this node is fit to join."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from common.printable import printable
from fellrec.commands.arguments import Json
from fellrec.deferred import Deferred

if TYPE_CHECKING:
    from fellrec import preflight as checks
    from fellrec.preflight import node as nodes
else:
    checks = Deferred("fellrec.preflight")
    nodes = Deferred("fellrec.preflight.node")

COLOURS = {"ok": "", "warn": "yellow", "fail": "red"}


def preflight_command(
    env: Annotated[Path | None, typer.Option(help="The node's node.env; options go before what it says.")] = None,
    name: Annotated[str, typer.Option(help="The client's name.")] = "",
    data_path: Annotated[str, typer.Option(help="The client's folder.")] = "",
    data_split: Annotated[str, typer.Option(help="How the data are split: leave-last-out, global-time.")] = "",
    superlink: Annotated[str, typer.Option(help="host:port of the SuperLink, or of its gateway.")] = "",
    split: Annotated[str, typer.Option(help="host:port of the split service.")] = "",
    root_certificate: Annotated[str, typer.Option(help="PEM that signed the server's certificates.")] = "",
    split_certificate: Annotated[str, typer.Option(help="This node's certificate, PEM.")] = "",
    split_key: Annotated[str, typer.Option(help="Its key, PEM.")] = "",
    supernode_key: Annotated[str, typer.Option(help="The SuperNode's private key, OpenSSH.")] = "",
    model: Annotated[str, typer.Option(help="'embedded', a folder, or a hub name.")] = "",
    digest: Annotated[str, typer.Option(help="The digest that the model's weights must have.")] = "",
    config: Annotated[str, typer.Option(help="The digest that the model's configuration must have.")] = "",
    k: Annotated[int | None, typer.Option(min=0, help="First layers that stay on the client.")] = None,
    m: Annotated[int | None, typer.Option(min=0, help="Last layers that stay on the client.")] = None,
    as_json: Json = False,
) -> None:
    """Check a node before it joins: versions, certificates, clock, both ports, data, model, memory. Exit 1 on a failure.

    Example: fellrec preflight --env node.env
    """
    given = {
        "name": name,
        "data_path": data_path,
        "data_split": data_split,
        "superlink": superlink,
        "split": split,
        "root_certificate": root_certificate,
        "split_certificate": split_certificate,
        "split_key": split_key,
        "supernode_key": supernode_key,
        "model": model,
        "digest": digest,
        "config": config,
    }
    settings = {key: given[field] for key, (field, _) in nodes.FIELDS.items() if given.get(field)}
    node = nodes.Node.from_env(env) if env is not None else nodes.Node()
    options = nodes.Node.from_mapping(settings, Path.cwd())
    changed = {field: getattr(options, field) for field, value in given.items() if value}
    changed |= {field: value for field, value in (("k", k), ("m", m)) if value is not None}
    found = checks.preflight(replace(node, **changed))
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in found], indent=1))
    else:
        table = Table(box=None, pad_edge=False)
        for column in ("", "check", "found", "what to do"):
            table.add_column(column, overflow="fold")
        for finding in found:
            colour = COLOURS[finding.verdict]
            told = (finding.verdict, finding.check, finding.message, finding.remedy)
            table.add_row(*(Text(printable(cell)) for cell in told), style=colour)
        Console(highlight=False).print(table)
    if any(finding.verdict == "fail" for finding in found):
        raise typer.Exit(1)
