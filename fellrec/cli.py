"""The ``fellrec`` command."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from common.config import flatten
from common.cut import Cut, cost, write_sides
from common.errors import FellrecError, RunError
from common.models import resolve
from common.run_folder import RunFolder
from common.table import result_table
from fellrec import data_commands
from fellrec.api_command import api_command
from fellrec.click_commands import distil_command
from fellrec.deployment import Drive
from fellrec.export_command import export_command
from fellrec.gateway_command import gateway_command
from fellrec.live_command import live_command
from fellrec.preflight_command import preflight_command
from fellrec.pretrain_command import pretrain_command
from fellrec.provision_command import provision_command
from fellrec.recipes import read_recipe, settings
from fellrec.recommend_command import recommend_command
from fellrec.recommend_command import show as show_recommendations
from fellrec.recommending import recommending
from fellrec.report_command import report_command
from fellrec.serving import Service
from fellrec.serving import serve as run_service
from fellrec.simulation import simulate
from fellrec.superlink import reach
from fellrec.track_command import track_command

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    # Typer's tracebacks show local variables, and those hold people's data.
    pretty_exceptions_enable=False,
    help="Federated recommendation with language models, on Flower.",
)
app.add_typer(data_commands.app, name="data")
app.command("pretrain")(pretrain_command)
app.command("distil")(distil_command)
app.command("provision")(provision_command)
app.command("preflight")(preflight_command)
app.command("gateway")(gateway_command)
app.command("report")(report_command)
app.command("live")(live_command)
app.command("recommend")(recommend_command)
app.command("api")(api_command)
app.command("export")(export_command)
app.command("track")(track_command)
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
    superlink: Annotated[
        str, typer.Option(help="Run on real nodes instead: host:port, or a name in Flower's configuration.")
    ] = "",
    root_certificates: Annotated[str, typer.Option(help="PEM that signed that SuperLink's certificate.")] = "",
    federation: Annotated[str, typer.Option(help="Flower's federation on that SuperLink; '' takes its own.")] = "",
    keep_going: Annotated[
        int, typer.Option(min=0, help="How many failures of a run on real nodes to take up again.")
    ] = 0,
) -> None:
    """Run a federation with Flower, from start to result: simulated here, or on the nodes of a SuperLink.

    Example: fellrec run demo --set strategy.name=fedavg
    """
    chosen = settings(read_recipe(recipe), override or [])
    if not superlink:
        simulate(*chosen, nodes, cpus, console)
        return
    with reach(superlink, root_certificates, federation) as found:
        Drive(found, keep_going, console).run(*chosen)


@app.command()
def demo(override: Override = None) -> None:
    """Train on the generated sample set, then recommend for one user (two and a half minutes on two cores).

    Example: fellrec demo --set num-server-rounds=1
    """
    folder = simulate(*settings(read_recipe("demo"), override or []), 2, 1, console)
    console.print()
    with recommending(folder) as ready:
        show_recommendations(ready.for_user(), console)
    console.print(f"\nrun: {folder.path}")


@app.command()
def show(
    run: Run = "latest", as_json: Annotated[bool, typer.Option("--json", help="Print result.json.")] = False
) -> None:
    """Show a run's result: per client, beside the baselines.

    Example: fellrec show latest --json
    """
    result = RunFolder.find(run).result()
    if as_json:
        typer.echo(json.dumps(result, indent=1))
        return
    for line in result_table(result):
        console.print(line)


@app.command()
def serve(
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
            "its clients hold the whole model: use `fellrec recommend`",
        )
    place = {
        "host": host, "port": port, "certificate": certificate, "key": key, "client_ca": client_ca, "advertise": "",
        "metrics_port": metrics_port,
    }  # fmt: skip

    def told(found: Service) -> None:
        console.print(f"serving run {folder.name} on {found.address}; Ctrl-C ends it", markup=False)
        for client, path in found.tokens.items():
            console.print(f"  {client}: token in {path}", markup=False)

    run_service(folder, config.model_copy(update={"split": config.split.model_copy(update=place)}), hours, told)


@app.command()
def split(
    model: Annotated[str, typer.Argument(help="'embedded', home:NAME, a local folder, or a hub name.")],
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
    """Check a recipe without starting anything; prints every setting that it leads to.

    Example: fellrec check demo --set split.k=2
    """
    _, config = settings(read_recipe(recipe), override or [])
    for key, value in flatten(config):
        console.print(f"{key} = {json.dumps(value)}", markup=False)


def main() -> None:
    """Entry point: an error that fellrec foresaw is one line with a remedy, not a traceback."""
    try:
        app()
    except FellrecError as error:
        remedy = f" ({error.hint})" if error.hint else ""
        print(f"fellrec: {error.message}{remedy} [{error.code}]", file=sys.stderr)
        sys.exit(1)
