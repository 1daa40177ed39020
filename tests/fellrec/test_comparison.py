"""Comparisons over real tiny runs: which runs they are, what is not run again, and the figures against numpy's."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from typer.testing import CliRunner

from common.errors import ConfigError, RunError
from common.run_folder import RunFolder
from fellrec import flower, simulation
from fellrec.cli import app
from fellrec.comparison import Comparison, Variant, load
from fellrec.flower import write_settings
from tests.clicks import click_settings
from tests.federation import federate

VARIANTS = [Variant("fedpa", ()), Variant("no-gate", ("fedpa.gate=false",)), Variant("local", ("strategy.name=local",))]
SEEDS = (0, 1, 2)


def comparison(home: Path, variants: list[Variant] = VARIANTS, against: str = "fedpa") -> Comparison:
    return Comparison("cmp", click_settings(home), ["train.local-epochs=2"], variants, SEEDS, against)


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which all runs of a comparison have ended."""
    from flwr.supercore.task_identity import TaskIdentity

    TaskIdentity.run_id, TaskIdentity.task_id, TaskIdentity.node_id = 1, 1, 1
    home = tmp_path_factory.mktemp("home")
    for trial in comparison(home).trials:
        federate(trial.to_run()[0])
    return home


def test_all_variants_run_with_all_seeds_under_names_of_their_own(tmp_path: Path) -> None:
    trials = comparison(tmp_path).trials
    assert [(trial.variant, trial.seed) for trial in trials[:4]] == [
        ("fedpa", 0),
        ("no-gate", 0),
        ("local", 0),
        ("fedpa", 1),
    ]
    assert [trial.config.run_name for trial in trials[:2]] == ["cmp-fedpa-0", "cmp-no-gate-0"]
    assert {trial.config.seed for trial in trials if trial.variant == "local"} == set(SEEDS)
    assert not any(trial.config.fedpa.gate for trial in trials if trial.variant == "no-gate")
    assert all(trial.config.train.local_epochs == 2 for trial in trials)


def test_the_seed_may_stand_in_any_value(tmp_path: Path) -> None:
    made = Comparison("x", click_settings(tmp_path), ["click.division={seed}"], VARIANTS[:1], (3, 5), "fedpa")
    assert [trial.config.click.division for trial in made.trials] == [3, 5]


def test_means_intervals_and_pairs_are_those_of_the_runs(ended: Path) -> None:
    summary = comparison(ended).save()
    auc = {
        name: np.array(
            [RunFolder.find(f"cmp-{name}-{seed}", str(ended)).result()["metrics"]["test"]["auc"] for seed in SEEDS]
        )
        for name in ("fedpa", "no-gate", "local")
    }
    assert np.ptp(auc["local"]) > 0 and summary["seeds"] == list(SEEDS)
    for name, values in auc.items():
        low, high = stats.t.interval(0.95, 2, values.mean(), stats.sem(values))
        told = summary["strategies"][name]["auc"]
        assert told == pytest.approx({"mean": values.mean(), "low": low, "high": high})
        if name != "fedpa":
            pair = summary["paired"][f"{name} vs fedpa"]["auc"]
            difference = values - auc["fedpa"]
            low, high = stats.t.interval(0.95, 2, difference.mean(), stats.sem(difference))
            assert (pair["mean"], pair["low"], pair["high"]) == pytest.approx((difference.mean(), low, high))
            assert pair["relative"] == pytest.approx(difference.mean() / auc["fedpa"].mean())
    assert summary["references"]["warm_start"]["auc"]["mean"] > 0 and "warm_start vs fedpa" in summary["paired"]
    assert summary["runs"]["local"] == {str(seed): f"cmp-local-{seed}" for seed in SEEDS}
    assert load("cmp", str(ended)) == summary


def test_what_has_ended_is_not_run_again_and_what_broke_off_goes_on(ended: Path, tmp_path: Path) -> None:
    made = comparison(ended)
    assert all(trial.result() is not None for trial in made.trials)
    assert not comparison(tmp_path).trials[0].to_run()[0]["resume"]
    broken = made.trials[-1]
    result = RunFolder.find(broken.config.run_name, str(ended)).path / "result.json"
    kept = result.read_text()
    result.unlink()
    try:
        assert broken.result() is None and broken.to_run()[0]["resume"] and broken.to_run()[1].resume
        summary = made.save()
        assert summary["strategies"]["local"]["seeds"] == [0, 1]
        assert summary["paired"]["local vs fedpa"]["seeds"] == [0, 1]
    finally:
        result.write_text(kept)


def test_a_run_of_the_name_with_other_settings_is_not_taken_for_it(ended: Path) -> None:
    other = Comparison("cmp", click_settings(ended), ["train.local-epochs=3"], VARIANTS[:1], (0,), "fedpa")
    with pytest.raises(RunError, match="'train.local-epochs' = 2, not 3"):
        other.trials[0].result()


@pytest.mark.parametrize("text", ["no name", "Upper: a=b", "x: word", ": a=b"])
def test_variants_of_another_form_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="not of the form"):
        Variant.parse(text)


def test_a_variant_twice_or_an_unknown_reference_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'local' is given twice"):
        comparison(tmp_path, [*VARIANTS, VARIANTS[-1]])
    with pytest.raises(ConfigError, match="--against 'fedavg' is no variant"):
        comparison(tmp_path, against="fedavg")


def test_the_command_runs_what_is_missing_and_prints_a_table(
    fellrec_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = write_settings(tmp_path / "toy.toml", click_settings(fellrec_home, recipe="toy"))
    ran: list[str] = []

    def in_process(settings, config, *_: object) -> None:  # noqa: ANN001
        ran.append(config.run_name)
        federate(settings)

    monkeypatch.setattr(simulation, "simulate", in_process)
    monkeypatch.setattr(flower, "own_superlink", lambda: open("/dev/null"))
    words = ["compare", str(recipe), "--strategies", "fedpa,local", "--seeds", "2", "--as", "mine"]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0 and ran == ["mine-fedpa-0", "mine-local-0", "mine-fedpa-1", "mine-local-1"]
    rows = [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert [row.split("|")[1].strip() for row in rows[2:]] == ["fedpa", "local", "warm start"]
    again = CliRunner().invoke(app, [*words, "--json"], catch_exceptions=False)
    assert json.loads(again.stdout) == load("mine") and len(ran) == 4
    own = CliRunner().invoke(app, ["compare", "mine", "--show", "--metric", "user_auc"], catch_exceptions=False)
    assert "user_auc [95 %]" in own.stdout and "difference to fedpa" in own.stdout
    wrong = CliRunner().invoke(app, ["compare", "mine", "--show", "--metric", "recall@10"])
    assert isinstance(wrong.exception, ConfigError) and "user_auc" in wrong.exception.hint
    shown = CliRunner().invoke(app, ["compare", "mine", "--show"], catch_exceptions=False)
    assert rows == [line for line in shown.stdout.splitlines() if line.startswith("|")]


def test_seed_and_run_name_are_the_comparisons_own(fellrec_home: Path) -> None:
    done = CliRunner().invoke(app, ["compare", "demo", "--set", "seed=4"])
    assert isinstance(done.exception, ConfigError) and "sets 'seed' and 'run-name' itself" in done.exception.message
