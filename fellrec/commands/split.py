"""``fellrec split``: the two sides of a cut model as folders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fellrec.deferred import Deferred
from fellrec.terminal import Terminal

if TYPE_CHECKING:
    from common import cut as cuts
    from common import models
else:
    cuts = Deferred("common.cut")
    models = Deferred("common.models")

console = Terminal()


def split_command(
    model: Annotated[str, typer.Argument(help="'embedded', home:NAME, a local folder, or a hub name.")],
    out: Annotated[Path, typer.Option(help="Where to write the folders client/ and server/.")],
    k: Annotated[int, typer.Option(help="First layers for the client.")] = 1,
    m: Annotated[int, typer.Option(help="Last layers for the client.")] = 1,
) -> None:
    """Cut a model into two folders that can be shipped: the client's layers, and the middle ones for the server.

    Example: fellrec split embedded --k 1 --m 1 --out sides
    """
    whole, cut = models.resolve(model), cuts.Cut(k, m)
    for name, folder in zip(("client", "server"), cuts.write_sides(whole, cut, out), strict=True):
        held = cuts.cost(whole, cut)[name]
        console.print(
            f"{name}: {held['parameters']:,} parameters, {held['bytes'] / 2**20:.1f} MiB in {folder}", markup=False
        )
