"""``fellrec live``: a page that shows a run while it goes on."""

from __future__ import annotations

import secrets
import socket
from pathlib import Path
from typing import Annotated

import typer
import uvicorn

from common.errors import RunError
from fellrec.live.app import live
from fellrec.live.feed import Feed
from fellrec.live.place import place

HOST = "127.0.0.1"


def live_command(
    run: Annotated[
        str, typer.Argument(help="A run's name or folder; 'latest' waits for one, and for the next.")
    ] = "latest",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Loopback port; 0 takes a free one.")] = 0,
    events: Annotated[
        Path | None, typer.Option(help="A log to show instead, say copied from the operator's machine.")
    ] = None,
) -> None:
    """Show a run while it goes on: rounds, clients, who learns from whom, warnings. Ctrl-C ends it.

    Example: fellrec live latest
    """
    token = secrets.token_urlsafe(32)
    app = live(Feed(place(run, events)), token, ended=lambda: server.should_exit)
    with _listening(port) as listener:
        # without an access log: it would hold the token
        settings = uvicorn.Config(app, access_log=False, log_level="warning", ws="none", timeout_graceful_shutdown=2)
        server = uvicorn.Server(settings)
        typer.echo(f"http://{HOST}:{listener.getsockname()[1]}/?token={token}")
        server.run(sockets=[listener])


def _listening(port: int) -> socket.socket:
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
    except OSError as error:
        listener.close()
        raise RunError(f"port {port!r} cannot be listened on: {error.strerror}", "give another --port, or 0") from error
    return listener
