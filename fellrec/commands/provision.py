"""``fellrec provision``: certificates, keys and folders for real machines."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from common.data.sets import POOL, check_name
from common.errors import ConfigError
from fellrec.deferred import Deferred
from fellrec.provision import Deployment, add, provision, renew
from fellrec.recipes import read_recipe, settings

if TYPE_CHECKING:
    from common import cut as cuts
    from common import models
else:
    cuts = Deferred("common.cut")
    models = Deferred("common.models")

DNS_NAME = re.compile(
    r"(?=.{1,253}$)([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
)


def provision_command(
    out: Annotated[Path, typer.Option(help="The federation's folder; keep its ca/ off line.")],
    server: Annotated[str, typer.Option(help="The server's host names and addresses, joined by commas.")] = "",
    nodes: Annotated[str, typer.Option(help="Names of the nodes, joined by commas; each is a client's name too.")] = "",
    days: Annotated[float, typer.Option(min=1, max=3650, help="How long certificates are good.")] = 365,
    superlink: Annotated[str, typer.Option(help="host:port for nodes; '' is the first server's, port 8443.")] = "",
    split: Annotated[str, typer.Option(help="host:port for hidden states; '' is the first server's, port 50051.")] = "",
    data_path: Annotated[str, typer.Option(help="Where a node's data lie on it.")] = "/var/lib/fellrec/data",
    recipe: Annotated[str, typer.Option(help="A recipe whose model and cut preflight checks on the nodes.")] = "",
    more: Annotated[bool, typer.Option("--add", help="Add nodes; touch nothing that is there.")] = False,
    again: Annotated[bool, typer.Option("--renew", help="Renew certificates that end soon; keys stay.")] = False,
    within: Annotated[float, typer.Option(min=0, help="Renew what ends within so many days.")] = 30,
) -> None:
    """Make certificates, keys and one folder per node for a federation on real machines.

    Example: fellrec provision --out federation --server recsys.example.org --nodes shop-a,shop-b
    """
    if more and again:
        raise ConfigError("--add and --renew were both given", "give one of them")
    if (more or again) and (server or superlink or split or recipe):
        raise ConfigError(
            "--server, --superlink, --split and --recipe are said once, when a federation is made",
            "leave them out; for another server, make another federation",
        )
    if again:
        if nodes:
            raise ConfigError(f"--nodes = {nodes!r} with --renew", "renewing covers all nodes: leave it out")
        changed = renew(out, days, within)
        for path in changed:
            typer.echo(f"renewed {path}")
        typer.echo(f"{len(changed)} certificates renewed; keys are as they were, so only these files have to travel")
        return
    names = _names(nodes)
    if more:
        add(out, names, days)
    else:
        hosts = _hosts(server)
        first = f"[{hosts[0]}]" if ":" in hosts[0] else hosts[0]
        deployment = Deployment(
            hosts=hosts,
            superlink=_address("superlink", superlink or f"{first}:8443"),
            split=_address("split", split or f"{first}:50051"),
            data_path=_path(data_path),
            model=_model(recipe),
        )
        provision(out, deployment, names, days)
    for name in names:
        typer.echo(f"node {name}: {out / 'nodes' / name}, for that machine only")
    typer.echo(f"tell the SuperLink: {out / 'server' / 'register.sh'} CONNECTION {' '.join(names)}")


def _names(text: str) -> list[str]:
    names = [check_name(name.strip()) for name in text.split(",") if name.strip()]
    if not names:
        raise ConfigError(f"--nodes = {text!r} names no node", "give names joined by commas: shop-a,shop-b")
    if len(set(names)) < len(names) or POOL in names:
        raise ConfigError(f"--nodes = {text!r} names a node twice, or {POOL!r}, which is reserved", "rename one")
    return names


def _hosts(text: str) -> tuple[str, ...]:
    hosts = tuple(dict.fromkeys(host.strip() for host in text.split(",") if host.strip()))
    if not hosts:
        raise ConfigError(f"--server = {text!r} names no host", "give the server's DNS names and IP addresses")
    for host in hosts:
        _check_host("server", host)
    return hosts


def _check_host(option: str, host: str) -> None:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        if not DNS_NAME.fullmatch(host):
            raise ConfigError(
                f"--{option}: {host!r} is neither a DNS name nor an IP address", "leave out scheme and port"
            ) from None


def _address(option: str, text: str) -> str:
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ConfigError(f"--{option} = {text!r} has no port", "write host:port")
    _check_host(option, host.strip("[]"))
    return text


def _path(text: str) -> str:
    if not re.fullmatch(r"[\w./-]+", text):
        raise ConfigError(f"--data-path = {text!r}", "use letters, digits, '.', '_', '-' and '/' only")
    return text


def _model(recipe: str) -> dict[str, str]:
    """What ``preflight`` looks for on a node, from the run's recipe."""
    if not recipe:
        return {}
    _, config = settings(read_recipe(recipe), ())
    if not re.fullmatch(r"[\w./~-]+", config.model.name):
        raise ConfigError(
            f"'model.name' = {config.model.name!r} cannot stand in node.env",
            "use letters, digits, '.', '_', '-', '~' and '/' only",
        )
    found = {"FELLREC_MODEL": config.model.name, "FELLREC_DATA_SPLIT": config.data.split}
    if config.split.on:
        found |= {"FELLREC_SPLIT_K": str(config.split.k), "FELLREC_SPLIT_M": str(config.split.m)}
    folder = models.resolve(config.model.name)
    found["FELLREC_MODEL_DIGEST"] = cuts.digest(folder)
    if config.split.on:
        found["FELLREC_MODEL_CONFIG"] = cuts.config_digest(folder)
    return found
