"""``fellrec join``: a node's SuperNode, as ``start.sh`` starts it."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from fellrec.supernode import SuperNode


def join_command(
    arguments: Annotated[list[str], typer.Argument(help="What `flower-supernode` is to be told, after --.")],
    mark: Annotated[
        Path | None,
        typer.Option(envvar="FELLREC_JOINED", help="A file that is there while the node is joined, for health checks."),
    ] = None,
) -> None:
    """Start a node's SuperNode, and try again for 90 seconds while the SuperLink holds one that was killed for online.

    Example: fellrec join -- --superlink recsys.example.org:8443 --root-certificates ca.crt
    """
    node = SuperNode(arguments, mark, lambda line: print(line, flush=True))
    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, node.leave)
    sys.exit(node.run())
