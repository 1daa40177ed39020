"""The ``fellrec`` command."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from client_app.holding import Holding
from client_app.memory import Memory
from client_app.node import all_clients, memory_folder
from client_app.recommend import recommend as recommend_for
from common.config import flatten
from common.cut import Cut, cost, write_sides
from common.data.prepare import prepare
from common.errors import ConfigError, FellrecError, RunError
from common.home import data_home
from common.models import resolve
from common.run_folder import RunFolder
from common.table import result_table
from fellrec.recipes import read_recipe, settings
from fellrec.serving import Service, split_recommender, whole_recommender
from fellrec.serving import serve as run_service
from fellrec.simulation import simulate

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    # Typer's tracebacks show local variables, and those hold people's data.
    pretty_exceptions_enable=False,
    help="Federated recommendation with language models, on Flower.",
)
data = typer.Typer(no_args_is_help=True, help="Prepare data sets.")
app.add_typer(data, name="data")
console = Console(highlight=False, soft_wrap=True)

Recipe = Annotated[str, typer.Argument(help="A TOML file, or the name of one in recipes/.")]
Override = Annotated[
    list[str] | None, typer.Option("--set", "-s", help="Override a setting: key=value. May be repeated.")
]
Run = Annotated[str, typer.Argument(help="A run's name or folder; 'latest' is the newest.")]


@app.command()
def run(
    recipe: Recipe,
    override: Override = None,
    nodes: Annotated[int, typer.Option(help="Simulated SuperNodes; clients are dealt to them.")] = 2,
    cpus: Annotated[int, typer.Option(help="CPU cores for each client at work.")] = 1,
) -> None:
    """Simulate a federation with Flower, from start to result.

    Example: fellrec run demo --set strategy.name=fedavg
    """
    simulate(*settings(read_recipe(recipe), override or []), nodes, cpus, console)


@app.command()
def demo(override: Override = None) -> None:
    """Train on the generated sample set, then recommend for one user (two and a half minutes on two cores)."""
    folder = simulate(*settings(read_recipe("demo"), override or []), 2, 1, console)
    console.print()
    _recommend(folder, "", "", 10)
    console.print(f"\nrun: {folder.path}")


@app.command()
def show(
    run: Run = "latest", as_json: Annotated[bool, typer.Option("--json", help="Print result.json.")] = False
) -> None:
    """Show a run's result: per client, beside the baselines."""
    result = RunFolder.find(run).result()
    if as_json:
        typer.echo(json.dumps(result, indent=1))
        return
    for line in result_table(result):
        console.print(line)


@app.command()
def recommend(
    run: Run = "latest",
    client: Annotated[str, typer.Option(help="The client; '' takes the first.")] = "",
    user: Annotated[str, typer.Option(help="The user's own id; '' takes one of median activity.")] = "",
    top: Annotated[int, typer.Option(min=1, help="How many items.")] = 10,
    service: Annotated[str, typer.Option(help="host:port of `fellrec serve`; '' runs the whole model here.")] = "",
    token: Annotated[Path | None, typer.Option(help="File with the client's token for the service.")] = None,
    root_certificate: Annotated[str, typer.Option(help="PEM that signed the service's certificate.")] = "",
) -> None:
    """Recommend items to a user of a simulated run's client, with the history beside them.

    Example: fellrec recommend latest --client ml-latest-small-0 --user 42
    """
    _recommend(RunFolder.find(run), client, user, top, service, token, root_certificate)


@app.command()
def serve(
    run: Run = "latest",
    host: Annotated[
        str, typer.Option(help="Address to listen on; beyond loopback only with a certificate.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 0,
    certificate: Annotated[str, typer.Option(help="Certificate chain, PEM.")] = "",
    key: Annotated[str, typer.Option(help="Private key, PEM.")] = "",
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
            "its clients hold the whole model: use `fellrec recommend`",
        )
    place = {"host": host, "port": port, "certificate": certificate, "key": key, "advertise": ""}

    def told(found: Service) -> None:
        console.print(f"serving run {folder.name} on {found.address}; Ctrl-C ends it", markup=False)
        for client, path in found.tokens.items():
            console.print(f"  {client}: token in {path}", markup=False)

    run_service(
        folder, config.model_copy(update={"split": config.split.model_copy(update=place)}), hours, metrics_port, told
    )


@app.command()
def split(
    model: Annotated[str, typer.Argument(help="'embedded', a local folder, or a hub name.")],
    out: Annotated[Path, typer.Option(help="Where to write the folders client/ and server/.")],
    k: Annotated[int, typer.Option(help="First layers for the client.")] = 1,
    m: Annotated[int, typer.Option(help="Last layers for the client.")] = 1,
) -> None:
    """Cut a model into two folders that can be shipped: the client's layers, and the middle ones for the server.

    Example: fellrec split embedded --k 1 --m 1 --out sides
    """
    whole = resolve(model)
    for name, folder in zip(("client", "server"), write_sides(whole, Cut(k, m), out), strict=True):
        held = cost(whole, Cut(k, m))[name]
        console.print(
            f"{name}: {held['parameters']:,} parameters, {held['bytes'] / 2**20:.1f} MiB in {folder}", markup=False
        )


@app.command()
def check(recipe: Recipe, override: Override = None) -> None:
    """Check a recipe without starting anything; prints every setting that it leads to."""
    _, config = settings(read_recipe(recipe), override or [])
    for key, value in flatten(config):
        console.print(f"{key} = {json.dumps(value)}", markup=False)


@data.command("prepare")
def prepare_data(
    name: Annotated[str, typer.Argument(help="sample, ml-latest-small, amazon-games, or a name for your own files.")],
    raw: Annotated[Path | None, typer.Option(help="Folder with the raw files.")] = None,
    items: Annotated[
        Path | None, typer.Option(help="Your items: a CSV with an id, a title and any attributes.")
    ] = None,
    interactions: Annotated[
        Path | None, typer.Option(help="Your interactions: a CSV with user, item and, if known, timestamp.")
    ] = None,
    accept_licence: Annotated[
        bool, typer.Option(help="You have read and accept the data's terms (for downloads).")
    ] = False,
) -> None:
    """Read a data set once and keep it under $FELLREC_HOME/data, ready for runs.

    Example: fellrec data prepare shop --items items.csv --interactions log.csv
    """
    dataset, report, folder = prepare(name, raw, data_home(), accept_licence, items, interactions)
    for line in report.lines():
        console.print(line, markup=False)
    console.print(
        f"{dataset.name}: {dataset.users} users, {len(dataset.catalogue)} items, {len(dataset.interactions)} interactions",
        markup=False,
    )
    console.print(f"licence: {dataset.licence}", markup=False)
    console.print(f"prepared: {folder}", markup=False)


def _recommend(
    folder: RunFolder,
    client: str,
    user: str,
    top: int,
    service: str = "",
    token: Path | None = None,
    root_certificate: str = "",
) -> None:
    config = folder.config()
    clients = all_clients(config, config.home)
    client = client or next(iter(clients))
    if client not in clients:
        raise RunError(f"run {folder.name!r} has no client {client!r}", f"it has {', '.join(clients)}")
    holding = Holding.load(client, clients[client], config.data.split)
    memory = Memory(memory_folder(config, {}, folder.name, client))
    adapter, rounds = folder.load_adapter(client), folder.result()["run"]["rounds"]
    with ExitStack() as stack:
        if service:
            if token is None or not token.is_file():
                raise ConfigError(
                    f"--token is {str(token)!r}", "give the client's token file, as `fellrec serve` prints it"
                )
            recommender, hosted = split_recommender(
                config, folder.name, client, adapter, service, token.read_text(), root_certificate
            )
            stack.enter_context(closing(hosted))
        else:
            recommender = whole_recommender(config, adapter)
        found = recommend_for(recommender, holding, memory, config, rounds, user, top)
    console.print(f"user {found.user} of client {found.client}", markup=False)
    console.print("\nhistory, newest first:")
    for title in found.history[:10]:
        console.print(f"  {title}", markup=False)
    console.print("\nrecommended:")
    for place, (title, score) in enumerate(found.recommended, 1):
        console.print(f"  {place:2d}. {title}  ({score:.2f})", markup=False)


def main() -> None:
    """Entry point: an error that fellrec foresaw is one line with a remedy, not a traceback."""
    try:
        app()
    except FellrecError as error:
        print(f"fellrec: {error}", file=sys.stderr)
        sys.exit(1)
