"""``fellrec gateway``: the reverse proxy before a SuperLink; ``python -m fellrec.commands.gateway`` needs no other command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fellrec.gateway import gateway, serve


def gateway_command(
    upstream: Annotated[str, typer.Option(help="host:port of the SuperLink.")],
    certificate: Annotated[Path, typer.Option(help="The gateway's certificate, PEM.")],
    key: Annotated[Path, typer.Option(help="Its private key, PEM.")],
    root_certificate: Annotated[Path | None, typer.Option(help="PEM that signed the SuperLink's certificate.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "0.0.0.0",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8443,
) -> None:
    """Let nodes reach a SuperLink's nodes' paths, and nothing else of it.

    Example: fellrec gateway --upstream superlink:8443 --certificate tls.crt --key tls.key --root-certificate ca.crt
    """
    serve(gateway(upstream, root_certificate), host, port, certificate, key)


if __name__ == "__main__":
    typer.run(gateway_command)
