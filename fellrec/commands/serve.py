"""``fellrec serve``: the hosted layers of a run, after it has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from common.errors import RunError
from common.run_folder import RunFolder
from fellrec.commands.arguments import Run
from fellrec.deferred import Deferred
from fellrec.terminal import Terminal

if TYPE_CHECKING:
    from fellrec import serving
    from fellrec.serving import Service
else:
    serving = Deferred("fellrec.serving")


console = Terminal()


def serve_command(
    run: Run = "latest",
    host: Annotated[
        str, typer.Option(help="Address to listen on; beyond loopback only with a certificate.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 0,
    certificate: Annotated[str, typer.Option(help="Certificate chain, PEM.")] = "",
    key: Annotated[str, typer.Option(help="Private key, PEM.")] = "",
    client_ca: Annotated[
        str, typer.Option(help="Authorities of clients' certificates, PEM; '' asks clients for none.")
    ] = "",
    hours: Annotated[float, typer.Option(help="How long the clients' tokens are good.")] = 24.0,
    metrics_port: Annotated[int, typer.Option(help="Serve Prometheus metrics on this loopback port; 0: do not.")] = 0,
) -> None:
    """Serve a run's hosted middle layers, so that its clients can go on recommending after the training.

    Example: fellrec serve latest --port 50051
    """
    folder = RunFolder.find(run)
    config = folder.config()
    if not config.split.on:
        raise RunError(
            f"run {folder.name!r} was trained without the split",
            "its clients hold the whole model, as those of a click model always do: use `fellrec recommend` or `fellrec api`",
        )
    place = {
        "host": host,
        "port": port,
        "certificate": certificate,
        "key": key,
        "client_ca": client_ca,
        "advertise": "",
        "metrics_port": metrics_port,
    }

    def told(found: Service) -> None:
        console.print(f"serving run {folder.name} on {found.address}; Ctrl-C ends it", markup=False)
        for client, path in found.tokens.items():
            console.print(f"  {client}: token in {path}", markup=False)
        # where stdout is a file, whoever starts this reads the address there
        console.file.flush()

    placed = config.model_copy(update={"split": config.split.model_copy(update=place)})
    serving.serve(folder, placed, hours, told)
