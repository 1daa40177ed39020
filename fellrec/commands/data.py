"""``fellrec data``: prepare data sets, list them, look at one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

from common.data.coverage import Coverage
from common.data.download import Downloader
from common.data.filters import Filters
from common.data.prepare import ensure, prepare
from common.data.readers.names import in_short
from common.data.summary import listing, summary
from common.home import data_home
from common.printable import printable_json
from fellrec.commands.arguments import Json
from fellrec.lazy_command import PlainCommand
from fellrec.terminal import Terminal

app = typer.Typer(
    no_args_is_help=True,
    help="Prepare data sets, list them, look at one.",
    epilog="Example: fellrec data show sample",
)
console = Terminal()


@app.command("prepare", cls=PlainCommand)
def prepare_data(
    name: Annotated[str, typer.Argument(help=f"{', '.join(in_short())}, or a name for your own files.")],
    raw: Annotated[Path | None, typer.Option(help="Folder with the raw files.")] = None,
    items: Annotated[
        Path | None, typer.Option(help="Your items: a CSV with an id, a title and any attributes.")
    ] = None,
    interactions: Annotated[
        Path | None, typer.Option(help="Your interactions: a CSV with user, item and, if known, timestamp.")
    ] = None,
    core: Annotated[
        int, typer.Option(help="Keep users and items with this many interactions or more; 0 keeps all.")
    ] = 0,
    top_items: Annotated[int, typer.Option(help="Keep the most popular items only, this many; 0 keeps all.")] = 0,
    called: Annotated[
        str, typer.Option("--as", help="The prepared set's name; '' adds the filters to NAME, as in NAME-top1000.")
    ] = "",
    accept_licence: Annotated[
        bool, typer.Option(help="You have read and accept the data's terms (for downloads).")
    ] = False,
) -> None:
    """Read a data set once and keep it under $FELLREC_HOME/data, ready for runs.

    Example: fellrec data prepare shop --items items.csv --interactions log.csv
    """
    filters = Filters(core, top_items)
    with _Bars(console) as bars:
        dataset, report, folder = prepare(
            name,
            raw,
            data_home(),
            accept_licence,
            items,
            interactions,
            filters=filters,
            called=called,
            downloader=Downloader(bars.told),
        )
    for line in report.lines():
        console.print(line, markup=False)
    found = summary(folder)
    console.print(f"{dataset.name}: {_sizes(found)}", markup=False)
    for kept in found["filters"]:
        console.print(f"kept: {kept}", markup=False)
    console.print(f"licence: {dataset.licence}", markup=False)
    console.print(f"prepared: {folder}", markup=False)


@app.command("list", cls=PlainCommand)
def list_data(as_json: Json = False) -> None:
    """List the prepared data sets: users, items, interactions, filters, licence.

    Example: fellrec data list --json
    """
    found = listing(data_home())
    if as_json:
        typer.echo(printable_json(found))
    elif not found:
        console.print(f"no data set is prepared under {data_home()}; start with `fellrec data prepare`", markup=False)
    for row in [] if as_json else found:
        console.print(f"{row['name']}: {row['damaged'] if 'damaged' in row else _counts(row)}", markup=False)


@app.command("show", cls=PlainCommand)
def show_data(
    name: Annotated[str, typer.Argument(help="A prepared data set; `fellrec data list` names them.")],
    as_json: Json = False,
) -> None:
    """Show a prepared data set: counts, history lengths, ten titles, licence, source, filters.

    Example: fellrec data show sample
    """
    found = summary(ensure(name, data_home()))
    if as_json:
        typer.echo(printable_json(found))
        return
    for key, value in _told(found).items():
        console.print(f"{key}: {value}", markup=False)
    if "titles" in found:
        console.print("titles:")
        for title in found["titles"]:
            console.print(f"  {title}", markup=False)


def _told(found: dict[str, Any]) -> dict[str, str]:
    """A summary in words; of a click log there is less to tell."""
    told = {"set": found["name"] + " (generated)" * found["generated"], "counts": _sizes(found)}
    if "history_lengths" in found:
        lengths = ", ".join(f"{key} {value:g}" for key, value in found["history_lengths"].items())
        first, last = found["times"] or ("", "")
        told |= {
            "items met": f"{found['items_met']} of {found['counts']['items']}; density {found['density']:.4%}",
            "history lengths": f"{lengths}; {found['users_with_three_or_more']} users with three or more",
            "times": f"{first} to {last}" if first else "none, only the order is known",
            "can be split by": "; ".join(f"{how}, {Coverage(**users)}" for how, users in found["testable"].items()),
            "attributes": ", ".join(found["attributes"]),
        }
    return told | {
        "filters": "; ".join(found["filters"]) or "none",
        "licence": found["licence"],
        "source": found["source"],
        "digest": found["digest"],
        "folder": found["folder"],
    }


def _sizes(row: dict[str, Any]) -> str:
    return ", ".join(f"{count} {what}" for what, count in row["counts"].items())


def _counts(row: dict[str, Any]) -> str:
    parts = [_sizes(row), f"{row['bytes'] / 2**20:.1f} MiB"]
    parts += ["generated"] * row["generated"] + [f"kept: {kept}" for kept in row["filters"]]
    parts += [f"split {row['split']}" if row["split"] else "split when a run starts", f"licence: {row['licence']}"]
    return "; ".join(parts)


class _Bars:
    """A progress bar for each file on its way; none appears before the first byte."""

    def __init__(self, to: Console) -> None:
        columns = TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn()
        self._progress = Progress(*columns, console=to)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> _Bars:
        return self

    def __exit__(self, *_: object) -> None:
        if self._tasks:
            self._progress.stop()

    def told(self, name: str, done: int, total: int) -> None:
        """Move a file's bar on."""
        if not self._tasks:
            self._progress.start()
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name)
        self._progress.update(self._tasks[name], completed=done, total=total or None)
