"""``fellrec api``: a client's recommendations over HTTP on its own machine."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from common.errors import ConfigError
from common.run_folder import RunFolder
from fellrec.commands.arguments import Run
from fellrec.commands.recommend import Address, Certificate, Client, DataPath, Key, Root, Token, service_at
from fellrec.deferred import Deferred
from fellrec.terminal import Terminal

if TYPE_CHECKING:
    from client_app import node as nodes
    from fellrec import api as apis
    from fellrec import recommending as recommenders
    from fellrec import serving
else:
    apis = Deferred("fellrec.api")
    nodes = Deferred("client_app.node")
    recommenders = Deferred("fellrec.recommending")
    serving = Deferred("fellrec.serving")

console = Terminal()


def api_command(
    run: Run = "latest",
    client: Client = "",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Loopback port to listen on; 0 takes a free one.")] = 0,
    new_token: Annotated[bool, typer.Option(help="Make another token; the one before opens nothing then.")] = False,
    service: Address = "",
    token: Token = None,
    root_certificate: Root = "",
    certificate: Certificate = "",
    key: Key = "",
    data_path: DataPath = None,
) -> None:
    """Answer recommendation requests over HTTP on this machine; the model is loaded once.

    Example: fellrec api latest --client ml-latest-small-0 --port 8080
    """
    folder = RunFolder.find(run)
    at = service_at(service, token, root_certificate, certificate, key)
    with recommenders.recommending(folder, client, at, data_path) as ready:
        path = nodes.memory_folder(folder.config(), {}, folder.name, ready.client) / "api.token"
        secret, made = secret_at(path, new_token)

        def told(address: str) -> None:
            console.print(f"client {ready.client} of run {folder.name} on http://{address}; Ctrl-C ends it")
            console.print(f"token: {secret} (told once; kept in {path})" if made else f"token: in {path}")

        apis.serve(apis.api(ready, secret), port, told)


def secret_at(path: Path, new: bool) -> tuple[str, bool]:
    """The token kept in a file, and whether it was made now: where there was none, or where a ``new`` one is asked for.

    Raises
    ------
    ConfigError : others than its owner may read the file, or it holds no token.
    """
    if made := new or not path.exists():
        serving.keep_token(path, secrets.token_urlsafe(32))
    if path.stat().st_mode & 0o077:
        raise ConfigError(f"others may read the token in {str(path)!r}", "start again with --new-token")
    secret = path.read_text(encoding="utf-8").strip()
    if len(secret) < 32:
        raise ConfigError(f"the file {str(path)!r} holds no token", "start again with --new-token")
    return secret, made
