"""Variants of a recipe beside each other, on the same seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import ConfigError
from fellrec.deferred import Deferred
from fellrec.python.rows import Rows
from fellrec.python.run import Run, load
from fellrec.python.running import Listener, listener, start
from fellrec.python.settings import Recipe, Settings, flat_settings, recipe_settings, words

if TYPE_CHECKING:
    from fellrec import comparison as comparisons
    from fellrec import flower as flowers
    from fellrec.commands import compare as tables
else:
    comparisons = Deferred("fellrec.comparison")
    flowers = Deferred("fellrec.flower")
    tables = Deferred("fellrec.commands.compare")


OWN = ("seed", "run-name")
"""Settings that a comparison gives to its runs."""


def compare(
    recipe: Recipe,
    variants: Mapping[str, Settings],
    seeds: int | Sequence[int] = 3,
    against: str | None = None,
    settings: Settings | None = None,
    *,
    name: str = "",
    in_process: bool = False,
    listen: Listener | None = None,
    quiet: bool = False,
    nodes: int = 2,
    cpus: int = 1,
) -> Compared:
    """Runs variants of a recipe with the same seeds, one after the other, and tells them apart.

    What has ended is not run again: the same call goes on with a comparison that broke off, also with one that ``fellrec
    compare`` began.

    Parameters
    ----------
    recipe : str, path or mapping
        A recipe's name, its path, or its content.
    variants : mapping
        Changes of the recipe, by a name of small letters, digits and dashes: ``{"fedavg": {"strategy.name": "fedavg"}}``.
    seeds : int or sequence of int
        Seeds, or how many of them: 0, 1, 2, ...
    against : str, optional
        Variant that the others are compared with; None takes the first.
    settings : mapping, optional
        Settings of all variants; ``{seed}`` in a text stands for the seed.
    name : str
        The comparison's name; '' takes the recipe's.
    in_process, listen, quiet, nodes, cpus
        As of :func:`fellrec.run`.

    Raises
    ------
    ConfigError : there is no variant, ``against`` is none, no seed, or settings will not do.
    RunError : a run failed, or one of a wanted name has other settings.
    """
    base, common = recipe_settings(recipe), flat_settings(settings or {})
    _check(base, common, variants, name)
    chosen = tuple(range(seeds)) if isinstance(seeds, int) else tuple(int(seed) for seed in seeds)
    if not chosen or len(set(chosen)) < len(chosen):
        raise ConfigError(f"'seeds' is {seeds!r}", "give how many, or distinct numbers")
    made = comparisons.Comparison(
        name or str(base["recipe"]),
        base,
        words(common),
        [comparisons.Variant.named(variant, words(changed)) for variant, changed in variants.items()],
        chosen,
        against if against is not None else next(iter(variants)),
    )
    to_run = [trial for trial in made.trials if trial.result() is None]
    if to_run and not quiet and listen is None:
        print(
            f"{len(variants)} variants, {len(chosen)} seeds: {len(to_run)} of {len(made.trials)} runs to do", flush=True
        )
    try:
        with flowers.own_superlink() if to_run and not in_process else nullcontext() as flower:
            for number, trial in enumerate(to_run, 1):
                if not quiet and listen is None:
                    print(f"\nrun {number} of {len(to_run)}: {trial.variant}, seed {trial.seed}", flush=True)
                flat, config = trial.to_run()
                start(flat, config, in_process, listener(listen, quiet), nodes, cpus, flower)
                made.save()
    finally:
        summary = made.save()
    return Compared(summary, made.path)


def _check(base: Mapping[str, Any], common: Settings, variants: Mapping[str, Settings], name: str) -> None:
    if not variants:
        raise ConfigError("'variants' is empty", "give one or more, as in {'fedavg': {'strategy.name': 'fedavg'}}")
    if not (name or base.get("recipe")):
        raise ConfigError("the comparison has no name: the recipe has no 'recipe'", "give name='...'")
    for settings in (common, *map(flat_settings, variants.values())):
        if own := [key for key in OWN if key in settings]:
            raise ConfigError(f"a comparison sets {own[0]!r} itself", "use 'seeds' and 'name'")


class Compared:
    """What a comparison says so far.

    Attributes
    ----------
    summary : dict
        ``comparison.json``; ``docs/compare.md`` says its form.
    path : Path
        Where the file is.
    """

    def __init__(self, summary: dict[str, Any], path: Path) -> None:
        self.summary, self.path = summary, path

    @property
    def name(self) -> str:
        """The comparison's name, with which its runs' names begin."""
        return str(self.summary["name"])

    @property
    def rows(self) -> Rows:
        """A row for each variant and metric: ``mean`` with its 95 % interval ``low`` to ``high`` (None for one seed), and the
        paired ``difference`` to the reference with its own; baselines after the variants."""
        pairs = {name.rpartition(" vs ")[0]: pair for name, pair in self.summary["paired"].items()}
        found = Rows()
        for name, metrics in (self.summary["strategies"] | self.summary["references"]).items():
            for metric in (key for key, value in metrics.items() if isinstance(value, dict)):
                pair = pairs.get(name, {}).get(metric)
                told = {f"difference_{key}": pair[key] for key in ("low", "high")} if pair else {}
                difference = {"difference": pair["mean"]} | told if pair else {}
                found.append({"variant": name, "metric": metric, **metrics[metric], **difference})
        return found

    @property
    def runs(self) -> Rows:
        """A row for each run that has ended: ``variant``, ``seed``, ``run`` (its name), and its test metrics."""
        return Rows(
            {"variant": variant, "seed": int(seed), "run": name, **self._load(name).metrics}
            for variant, by_seed in self.summary["runs"].items()
            for seed, name in by_seed.items()
        )

    def run(self, variant: str, seed: int = 0) -> Run:
        """One of its runs.

        Raises
        ------
        ConfigError : there is no such variant, or it has not ended with this seed.
        """
        by_seed = self.summary["runs"].get(variant)
        if by_seed is None:
            raise ConfigError(f"no variant {variant!r}", f"there are {', '.join(self.summary['runs'])}")
        if str(seed) not in by_seed:
            raise ConfigError(
                f"variant {variant!r} has not ended with seed {seed!r}", f"it has with {', '.join(by_seed)}"
            )
        return self._load(by_seed[str(seed)])

    def table(self, metric: str = "") -> str:
        """The comparison as a Markdown table; '' takes recall@10, or auc.

        Raises
        ------
        ConfigError : the results have no such metric.
        """
        return "\n".join(tables.comparison_table(self.summary, metric))

    def _load(self, name: str) -> Run:
        # comparisons/NAME/comparison.json lies beside runs/
        return load(name, home=self.path.parents[2])

    def __repr__(self) -> str:
        runs = sum(map(len, self.summary["runs"].values()))
        return f"<fellrec comparison {self.name!r}: {', '.join(self.summary['variants'])}; {runs} runs>"

    def _repr_html_(self) -> str:
        metric = comparisons.headline(self.summary["strategies"])
        return Rows(row for row in self.rows if row["metric"] == metric)._repr_html_()
