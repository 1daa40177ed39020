"""``fellrec export``: a client's adapter as a stock PEFT folder, or its click model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from common.run_folder import RunFolder
from fellrec.commands.arguments import Run
from fellrec.deferred import Deferred
from fellrec.terminal import Terminal

if TYPE_CHECKING:
    from fellrec import export as exports
else:
    exports = Deferred("fellrec.export")

console = Terminal()


def export_command(
    client: Annotated[str, typer.Option(help="The client whose adapter it is.")],
    out: Annotated[Path, typer.Option(help="The folder to write; it must not be there, or be empty.")],
    run: Run = "latest",
    data_path: Annotated[
        Path | None,
        typer.Option(help="Of a click model: a client's data on its own machine; by default the simulated clients'."),
    ] = None,
) -> None:
    """Write a client's adapter as a folder that PEFT loads on the base model, or its whole click model, with a card.

    Example: fellrec export latest --client ml-latest-small-0 --out adapter
    """
    found = exports.export(RunFolder.find(run), client, out, data_path)
    console.print(f"{found.parameters:,} parameters in {found.folder}", markup=False)
    console.print(f"checked: {found.checked}", markup=False)
    if not found.moved:
        console.print("note: it computes what the untrained model does; nothing was learned", markup=False)
    if found.projection:
        console.print("projection.safetensors: what PEFT has no place for; README.md says how to use it", markup=False)
    if found.items:
        console.print("items.safetensors: vectors of the client's items, which no weights make any more", markup=False)
