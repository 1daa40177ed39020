"""A comparison: variants of one recipe, each run with the same seeds, and what their results say together.

``$FELLREC_HOME/comparisons/NAME/comparison.json`` is written anew after every run. The runs are ordinary ones, named
``NAME-VARIANT-SEED``; one that is there already is taken as it is, so a comparison that broke off goes on.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.config import RunConfig, Value, flatten
from common.errors import ConfigError, RunError
from common.evaluation.intervals import interval, paired
from common.files import read_json
from common.home import home
from common.run_folder import RunFolder
from fellrec.recipes import settings

SEED = "{seed}"
"""In a variant's values this stands for the seed: ``model.name=home:warm-{seed}``."""
_OWN = ("run-name", "resume", "home")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")


@dataclass(frozen=True)
class Variant:
    """Settings that differ from the recipe's, by a name."""

    name: str
    overrides: tuple[str, ...]

    @classmethod
    def named(cls, name: str, overrides: Iterable[str]) -> Variant:
        """From a name and its ``key=value``.

        Raises
        ------
        ConfigError : the name cannot be part of a run's.
        """
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"{name!r} cannot name a variant", "use small letters, digits and dashes, as in 'no-gate'"
            )
        return cls(name, tuple(overrides))

    @classmethod
    def parse(cls, text: str) -> Variant:
        """From ``name: key=value key=value``.

        Raises
        ------
        ConfigError : it has another form.
        """
        name, _, rest = text.partition(":")
        if not _NAME.fullmatch(name := name.strip()) or not all("=" in word for word in rest.split()):
            raise ConfigError(
                f"variant {text!r} is not of the form 'name: key=value key=value'",
                "names have small letters, digits and dashes, as in 'no-gate: fedpa.gate=false'",
            )
        return cls(name, tuple(rest.split()))


@dataclass(frozen=True)
class Trial:
    """One run of a comparison: a variant with a seed."""

    variant: str
    seed: int
    settings: Mapping[str, Value]
    config: RunConfig

    def result(self) -> dict[str, Any] | None:
        """What the run came to; None where it has not ended.

        Raises
        ------
        RunError : a run of this name has other settings.
        """
        folder = self._folder()
        if folder is None:
            return None
        begun, wanted = (dict(flatten(config)) for config in (folder.config(), self.config))
        if other := [key for key in wanted if key not in _OWN and begun[key] != wanted[key]]:
            raise RunError(
                f"run {folder.name!r} is there with {other[0]!r} = {begun[other[0]]!r}, not {wanted[other[0]]!r}",
                "give the comparison another name with --as, or remove that run's folder",
            )
        return folder.result() if (folder.path / "result.json").is_file() else None

    def to_run(self) -> tuple[dict[str, Value], RunConfig]:
        """Settings and configuration that start the run, or go on with it."""
        resume = self._folder() is not None
        return {**self.settings, "resume": resume}, self.config.model_copy(update={"resume": resume})

    def _folder(self) -> RunFolder | None:
        try:
            return RunFolder.find(self.config.run_name, self.config.home)
        except RunError:
            return None


class Comparison:
    """Which runs make a comparison, and what they say.

    Parameters
    ----------
    name : its own, with which its runs' names begin. recipe : flat settings that all share. overrides : ``key=value`` that all
        share. seeds : each variant runs with each. against : the variant that the others are compared with.

    Raises
    ------
    ConfigError : variants are named alike, ``against`` is none of them, or a variant's settings will not do.
    """

    def __init__(
        self,
        name: str,
        recipe: Mapping[str, Value],
        overrides: Iterable[str],
        variants: Sequence[Variant],
        seeds: Sequence[int],
        against: str,
    ) -> None:
        names = [variant.name for variant in variants]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ConfigError(f"variant {twice[0]!r} is given twice", "name them differently")
        if against not in names:
            raise ConfigError(f"--against {against!r} is no variant", f"take one of: {', '.join(names)}")
        self.name, self.against, self.seeds, self.variants = name, against, tuple(seeds), tuple(variants)
        self.trials = [
            self._trial(recipe, [*overrides, *variant.overrides], variant.name, seed)
            for seed in self.seeds
            for variant in variants
        ]
        self.path = home(self.trials[0].config.home) / "comparisons" / name / "comparison.json"

    def _trial(self, recipe: Mapping[str, Value], overrides: Sequence[str], variant: str, seed: int) -> Trial:
        words = [word.replace(SEED, str(seed)) for word in overrides]
        words += [f"seed={seed}", f"run-name={self.name}-{variant}-{seed}"]
        return Trial(variant, seed, *settings(recipe, words))

    def save(self) -> dict[str, Any]:
        """Writes and returns ``comparison.json`` from the runs that have ended; see ``docs/compare.md`` for its form.

        Raises
        ------
        RunError : a run of a wanted name has other settings.
        """
        summary = self._summary()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
        partial.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
        os.replace(partial, self.path)
        return summary

    def _summary(self) -> dict[str, Any]:
        found: dict[str, dict[int, dict[str, Any]]] = {variant.name: {} for variant in self.variants}
        for trial in self.trials:
            if (result := trial.result()) is not None:
                found[trial.variant][trial.seed] = result
        every = [result for by_seed in found.values() for result in by_seed.values()]
        references = _references(found)
        return {
            "schema": 1,
            "name": self.name,
            "recipe": self.trials[0].config.recipe,
            "commits": sorted({result["run"]["commit"] or "unknown" for result in every}),
            "seeds": list(self.seeds),
            "data": every[0]["data"] if every else None,
            "variants": {variant.name: list(variant.overrides) for variant in self.variants},
            "interval": "95 %, Student's t over seeds",
            "strategies": {name: _of(by_seed) for name, by_seed in found.items() if by_seed},
            "paired": {
                f"{name} vs {self.against}": _against(by_seed, found[self.against])
                for name, by_seed in (found | references).items()
                if name != self.against and by_seed.keys() & found[self.against].keys()
            },
            "references": {name: _intervals(list(by_seed.values())) for name, by_seed in references.items()},
            "runs": {name: {str(s): r["run"]["id"] for s, r in by_seed.items()} for name, by_seed in found.items()},
        }


def headline(strategies: Mapping[str, Mapping[str, Any]]) -> str:
    """The metric that a comparison is about."""
    return "auc" if any("auc" in row for row in strategies.values()) else "recall@10"


def load(name: str, setting: str = "") -> dict[str, Any]:
    """A comparison's ``comparison.json`` by its name or by a path.

    Raises
    ------
    RunError : there is none.
    """
    root = home(setting) / "comparisons"
    for path in (root / name / "comparison.json", Path(name)):
        if path.is_file():
            return read_json(path, hint="run the comparison again: what has ended is not repeated")
    known = ", ".join(sorted(path.parent.name for path in root.glob("*/comparison.json"))) or "there is none yet"
    raise RunError(f"no comparison {name!r}", known)


def _intervals(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {name: interval(values).json() for name, values in _values(results).items()}


def _values(results: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Of every test metric that all results have, the values in their order."""
    tests = [result["metrics"]["test"] for result in results]
    names = [name for name, value in tests[0].items() if isinstance(value, float)]
    return {name: [test[name] for test in tests] for name in names if all(test.get(name) is not None for test in tests)}


def _of(by_seed: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """What the results of a variant say over its seeds."""
    results = list(by_seed.values())
    found = _intervals(results)
    balances = [result["metrics"]["balance"] for result in results]
    even = [balance.get("auc") or balance.get("recall@10") for balance in balances]
    for name, key in (("worst_client", "worst"), ("worst_decile", "worst_decile"), ("jain", "jain")):
        found[name] = interval([row[key] for row in even]).json() if all(even) else None
    found["seconds"] = interval([result["run"]["seconds"] for result in results]).mean
    for name in ("bytes_up", "share_of_whole_up"):
        sent = [result["cost"]["client"].get(name) for result in results]
        found[name] = interval(sent).mean if all(one is not None for one in sent) else None
    found["epsilon"] = max(result["privacy"]["epsilon"] or 0.0 for result in results) or None
    found["void_rounds"] = sum(result["run"].get("void_rounds", 0) for result in results)
    found["seeds"] = sorted(by_seed)
    return found


def _against(ours: Mapping[int, Mapping[str, Any]], theirs: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Differences over the seeds that both have run with."""
    shared = sorted(ours.keys() & theirs.keys())
    one, other = (_values([results[seed] for seed in shared]) for results in (ours, theirs))
    found: dict[str, Any] = {"seeds": shared}
    for name in (name for name in one if name in other):
        base, difference = interval(other[name]).mean, paired(one[name], other[name])
        found[name] = difference.json() | {"relative": difference.mean / base if base else None}
    return found


def _references(found: dict[str, dict[int, dict[str, Any]]]) -> dict[str, dict[int, dict[str, Any]]]:
    """Baselines that every run measures beside itself, in a result's form: of each seed, those of its first variant."""
    references: dict[str, dict[int, dict[str, Any]]] = {}
    for results in reversed(found.values()):
        for seed, result in results.items():
            for name, row in result["metrics"]["baselines"].items():
                references.setdefault(name, {})[seed] = {"metrics": {"test": row}}
    return references
