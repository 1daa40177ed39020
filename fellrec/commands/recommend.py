"""``fellrec recommend``: items for one user, for somebody new, or for many users."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from common.errors import ConfigError, DataError
from common.files import on_disk
from common.printable import printable_json
from common.run_folder import RunFolder
from fellrec.commands.arguments import Json, Run
from fellrec.deferred import Deferred
from fellrec.terminal import Terminal

if TYPE_CHECKING:
    from client_app.recommendations import Recommendations, Recommends
    from fellrec import recommending as recommenders
    from fellrec.recommending import ServiceAt
else:
    recommenders = Deferred("fellrec.recommending")


console = Terminal()
SHOWN = 10
"""Titles of a history that are printed; JSON has them all."""

Client = Annotated[str, typer.Option(help="The client; '' takes the first.")]
Address = Annotated[str, typer.Option("--service", help="host:port of `fellrec serve`; '' runs the whole model here.")]
Token = Annotated[Path | None, typer.Option(help="File with the client's token for the service.")]
Root = Annotated[str, typer.Option(help="PEM that signed the service's certificate.")]
Certificate = Annotated[str, typer.Option(help="The client's own certificate, PEM, where the service asks.")]
Key = Annotated[str, typer.Option(help="The private key of that certificate, PEM.")]
DataPath = Annotated[
    Path | None, typer.Option(help="A client's data on its own machine; by default the simulated client's.")
]


def recommend_command(
    run: Run = "latest",
    client: Client = "",
    user: Annotated[str, typer.Option(help="The user's own id; '' takes one of median activity.")] = "",
    history: Annotated[
        list[str] | None,
        typer.Option(help="A title that somebody new has met, oldest first; may be repeated. Nothing is stored."),
    ] = None,
    users: Annotated[Path | None, typer.Option(help="A file with one user's id per line, with --out.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where to write one JSON object per user, with --users.")] = None,
    top: Annotated[int, typer.Option(min=1, help="How many items.")] = 10,
    as_json: Json = False,
    service: Address = "",
    token: Token = None,
    root_certificate: Root = "",
    certificate: Certificate = "",
    key: Key = "",
    data_path: DataPath = None,
) -> None:
    """Recommend items with a client's own layers and data, and say which of the history each is alike.

    Example: fellrec recommend latest --client ml-latest-small-0 --user 42

    Example: fellrec recommend latest --history "Toy Story (1995)" --history "Up (2009)"
    """
    if sum((bool(user), bool(history), users is not None)) > 1:
        raise ConfigError("--user, --history and --users were given together", "give one of them")
    if (users is None) != (out is None):
        raise ConfigError(
            f"--users is {users and str(users)!r}, --out is {out and str(out)!r}", "give both, or neither"
        )
    many = _ids(users) if users is not None else []
    folder = RunFolder.find(run)
    at = service_at(service, token, root_certificate, certificate, key)
    with recommenders.recommending(folder, client, at, data_path) as ready:
        if out is not None:
            _write(ready, many, top, out)
            return
        found = ready.for_history(history, top) if history else ready.for_user(user, top)
    if as_json:
        typer.echo(printable_json(asdict(found)))
    else:
        show(found, console)


def service_at(address: str, token: Path | None, root_certificate: str, certificate: str, key: str) -> ServiceAt | None:
    """The service that the options name; None where they name none.

    Raises
    ------
    ConfigError : a token or a certificate without an address.
    """
    if address:
        return recommenders.ServiceAt(address, token, root_certificate, certificate, key)
    if token is not None or root_certificate or certificate or key:
        raise ConfigError(
            "--token, --root-certificate, --certificate and --key are for a service, but --service is ''",
            "give --service host:port too",
        )
    return None


def show(found: Recommendations, to: Console) -> None:
    """A history and its recommendations as text."""
    whose = f"user {found.user}" if found.user else "somebody new"
    to.print(f"{whose} of client {found.client}", markup=False)
    for note in found.notes:
        to.print(f"note: {note}", markup=False)
    to.print("\nhistory, newest first:")
    for title in found.history[:SHOWN]:
        to.print(f"  {title}", markup=False)
    to.print("\nrecommended:")
    for place, item in enumerate(found.recommended, 1):
        alike = f"  like {', '.join(item.because)}" if item.because else ""
        to.print(f"  {place:2d}. {item.title}  ({item.score:.2f}){alike}", markup=False)


def _ids(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"--users {str(path)!r} cannot be read: {error}", "give a text file, one id per line"
        ) from error
    found = [line.strip() for line in lines if line.strip()]
    if not found:
        raise DataError(f"--users {str(path)!r} names nobody", "write one user's id per line")
    return found


def _write(ready: Recommends, users: Sequence[str], top: int, out: Path) -> None:
    """One line per user, in order; the file is there whole or not at all."""
    if not out.parent.is_dir():
        raise ConfigError(f"--out is {str(out)!r}, but there is no folder {str(out.parent)!r}", "make it first")
    rows, began = ready.for_users(users, top), time.perf_counter()
    partial = out.with_name(f".{out.name}.{os.getpid()}.part")
    columns: tuple[Any, ...] = (TextColumn("recommending"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    try:
        with (
            on_disk(out),
            partial.open("w", encoding="utf-8") as file,
            Progress(*columns, console=Console(stderr=True)) as bar,
        ):
            for found in bar.track(rows, total=len(users)):
                file.write(json.dumps(asdict(found), ensure_ascii=False) + "\n")
            file.flush()
            os.replace(partial, out)
    finally:
        partial.unlink(missing_ok=True)
    seconds = time.perf_counter() - began
    console.print(f"{len(users)} users in {seconds:.1f} s: {out}", markup=False)
