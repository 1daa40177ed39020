"""``fellrec compare``: methods beside each other, on the same seeds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from common.errors import ConfigError
from fellrec.deferred import Deferred
from fellrec.recipes import read_recipe
from fellrec.terminal import Terminal

if TYPE_CHECKING:
    from fellrec import comparison, simulation
    from fellrec import flower as flowers
    from fellrec.comparison import Comparison, Trial
else:
    comparison = Deferred("fellrec.comparison")
    flowers = Deferred("fellrec.flower")
    simulation = Deferred("fellrec.simulation")


STRATEGIES = "fellrec,fedavg,fedprox,local,centralised"
CLICK_STRATEGIES = "fedpa,fedavg,local"


def compare_command(
    recipe: Annotated[str, typer.Argument(help="A TOML file, or the name of one in recipes/.")],
    strategies: Annotated[
        str, typer.Option(help="Comma-separated strategies to compare; by default all that fit the recipe.")
    ] = "",
    variant: Annotated[
        list[str] | None,
        typer.Option(help="Compare other settings as well: 'name: key=value key=value'. May be repeated."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds each runs with: 0, 1, 2, ...")] = 5,
    override: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", help="Override a setting for all: key=value; {seed} stands for the seed."),
    ] = None,
    against: Annotated[str, typer.Option(help="What the others are compared with; '' takes the first.")] = "",
    name: Annotated[str, typer.Option("--as", help="The comparison's name; '' takes the recipe's.")] = "",
    metric: Annotated[
        str, typer.Option(help="The metric of the table, as in result.json; '' takes recall@10, or auc.")
    ] = "",
    nodes: Annotated[int, typer.Option(help="Simulated SuperNodes; clients are dealt to them.")] = 2,
    cpus: Annotated[int, typer.Option(help="CPU cores for each client at work.")] = 1,
    show: Annotated[
        bool, typer.Option(help="Run nothing; show the comparison of this name as far as it went.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print comparison.json at the end.")] = False,
) -> None:
    """Run variants of a recipe with the same seeds and tell them apart, with 95 % intervals.

    What has ended is not run again: the same command goes on with a comparison that broke off.

    Example: fellrec compare demo --strategies fellrec,fedavg,local --seeds 3
    """
    console = Terminal(stderr=as_json)
    if show:
        _tell(comparison.load(name or recipe), metric, as_json, console)
        return
    base = read_recipe(recipe)
    default = CLICK_STRATEGIES if base.get("model.recommender") == "click" else STRATEGIES
    wanted = strategies or ("" if variant else default)
    variants = [
        comparison.Variant(found, (f"strategy.name={found}",)) for word in wanted.split(",") if (found := word.strip())
    ]
    variants += [comparison.Variant.parse(text) for text in variant or []]
    if any(
        word.startswith(("seed=", "run-name=")) for found in variants for word in [*(override or []), *found.overrides]
    ):
        raise ConfigError("a comparison sets 'seed' and 'run-name' itself", "use --seeds and --as")
    made = comparison.Comparison(
        name or str(base.get("recipe", recipe)),
        base,
        override or [],
        variants,
        range(seeds),
        against or variants[0].name,
    )
    to_run = [trial for trial in made.trials if trial.result() is None]
    console.print(
        f"{len(variants)} variants, {seeds} seeds: {len(to_run)} of {len(made.trials)} runs to do", markup=False
    )
    try:
        _run(made, to_run, nodes, cpus, console)
    except (KeyboardInterrupt, SystemExit):
        ended = sum(len(runs) for runs in made.save()["runs"].values())
        console.print(
            f"\ninterrupted; {ended} of {len(made.trials)} runs are kept, and the same command goes on with the others",
            markup=False,
        )
        raise
    _tell(made.save(), metric, as_json, console)
    if not as_json:
        console.print(f"\ncomparison: {made.path}", markup=False)


def _run(made: Comparison, to_run: Sequence[Trial], nodes: int, cpus: int, console: Console) -> None:
    if not to_run:
        return
    with flowers.own_superlink() as flower:
        for number, trial in enumerate(to_run, 1):
            console.print(f"\nrun {number} of {len(to_run)}: {trial.variant}, seed {trial.seed}", markup=False)
            simulation.simulate(*trial.to_run(), nodes, cpus, console, flower)
            made.save()


def _tell(summary: dict[str, Any], metric: str, as_json: bool, console: Console) -> None:
    if as_json:
        typer.echo(json.dumps(summary, indent=1))
        return
    for line in comparison_table(summary, metric):
        console.print(line, markup=False)


def comparison_table(summary: dict[str, Any], metric: str = "") -> list[str]:
    """A comparison as a Markdown table: per variant the mean with its interval, and the difference that pairs by seed.

    Raises
    ------
    ConfigError : the results have no such metric.
    """
    strategies = summary["strategies"]
    metric = metric or comparison.headline(strategies)
    known = [name for name, value in next(iter(strategies.values()), {}).items() if isinstance(value, dict)]
    if strategies and metric not in known:
        raise ConfigError(f"the results have no metric {metric!r}", f"take one of: {', '.join(known)}")
    against = next(iter(summary["paired"]), " vs ").split(" vs ")[1]
    rows = [
        ("", f"{metric} [95 %]", f"difference to {against or 'the others'} [95 %]", "worst tenth", "Jain", "s", "seeds")
    ]
    for name, row in strategies.items():
        pair = summary["paired"].get(f"{name} vs {against}", {})
        even = [f"{row[key]['mean']:.4f}" if row[key] else "" for key in ("worst_decile", "jain")]
        rows.append(
            (
                name,
                _interval(row[metric]),
                _interval(pair[metric], "+") if metric in pair else "",
                *even,
                f"{row['seconds']:.0f}",
                str(len(row["seeds"])),
            )
        )
    for name, row in summary["references"].items():
        if metric in row:
            pair = summary["paired"].get(f"{name} vs {against}", {})
            rows.append(
                (
                    name.replace("_", " "),
                    _interval(row[metric]),
                    _interval(pair[metric], "+") if metric in pair else "",
                    *[""] * 4,
                )
            )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["| " + " | ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) + " |" for row in rows]
    return [lines[0], "| " + " | ".join("-" * w for w in widths) + " |", *lines[1:]]


def _interval(found: dict[str, float | None], sign: str = "") -> str:
    mean = format(found["mean"], f"{sign}.4f")
    if found["low"] is None:
        return mean
    return f"{mean} [{format(found['low'], f'{sign}.4f')}, {format(found['high'], f'{sign}.4f')}]"
