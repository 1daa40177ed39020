"""fellrec/python/comparing.py: variants beside each other from Python."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import fellrec
from fellrec.comparison import load
from tests.federation import tiny_settings

VARIANTS = {"fellrec": {}, "fedavg": {"strategy": {"name": "fedavg"}}, "alone": {"strategy.name": "local"}}


def compare(home: Path, variants: dict = VARIANTS, **chosen) -> fellrec.Compared:
    chosen = {"seeds": 2, "name": "three", "in_process": True, "quiet": True} | chosen
    return fellrec.compare(tiny_settings(home, num_server_rounds=1), variants, **chosen)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, fellrec.Compared]:
    home = tmp_path_factory.mktemp("home")
    return home, compare(home, settings={"train": {"examples": 6}})


def test_rows_are_the_means_and_differences_of_the_runs(three: tuple[Path, fellrec.Compared]) -> None:
    home, found = three
    values = {
        name: [fellrec.load(f"three-{name}-{seed}", home=home).metrics["ndcg@10"] for seed in (0, 1)]
        for name in VARIANTS
    }
    rows = {row["variant"]: row for row in found.rows if row["metric"] == "ndcg@10"}
    assert list(rows) == ["fellrec", "fedavg", "alone", "popularity", "item_knn"]
    for name, both in values.items():
        assert rows[name]["mean"] == pytest.approx(np.mean(both))
        assert rows[name]["low"] <= rows[name]["mean"] <= rows[name]["high"]
        if name != "fellrec":
            assert rows[name]["difference"] == pytest.approx(np.mean(both) - np.mean(values["fellrec"]))
    assert "difference" not in rows["fellrec"]
    assert [(row["variant"], row["seed"], row["run"]) for row in found.runs] == [
        (name, seed, f"three-{name}-{seed}") for name in VARIANTS for seed in (0, 1)
    ]
    assert [row["ndcg@10"] for row in found.runs if row["variant"] == "alone"] == values["alone"]
    assert found.run("fedavg", 1).settings["strategy.name"] == "fedavg" and found.run("fedavg", 1).settings["seed"] == 1
    assert {row["run"]: found.run("alone").settings["train.examples"] for row in found.runs}["three-alone-0"] == 6


def test_it_is_the_comparison_that_the_command_knows(three: tuple[Path, fellrec.Compared]) -> None:
    home, found = three
    assert (
        found.summary == load("three", str(home)) and found.path == home / "comparisons" / "three" / "comparison.json"
    )
    assert found.table().startswith("| ") and "recall@10" in found.table() and "ndcg@20" in found.table("ndcg@20")
    assert repr(found) == "<fellrec comparison 'three': fellrec, fedavg, alone; 6 runs>"
    assert "<td>fedavg</td>" in found._repr_html_() and "<td>ndcg@10</td>" not in found._repr_html_()
    with pytest.raises(fellrec.ConfigError, match="no variant 'fedprox'"):
        found.run("fedprox")
    with pytest.raises(fellrec.ConfigError, match="not ended with seed 7"):
        found.run("alone", 7)


def test_what_has_ended_is_not_run_again_and_what_broke_off_goes_on(
    fellrec_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended: list[str] = []

    def stop_in_the_third(event: dict) -> None:
        if event["event"] == "run_started" and len(ended) == 2:
            raise KeyboardInterrupt
        if event["event"] == "run_ended":
            ended.append(event["result"])

    with pytest.raises(KeyboardInterrupt):
        compare(fellrec_home, listen=stop_in_the_third)
    assert sum(map(len, load("three", str(fellrec_home))["runs"].values())) == 2
    found = compare(fellrec_home, quiet=False)
    assert "3 variants, 2 seeds: 4 of 6 runs to do" in capsys.readouterr().out
    assert len(found.runs) == 6
    again = compare(fellrec_home, quiet=False)
    assert again.summary == found.summary and capsys.readouterr().out == ""


def test_the_reference_is_the_first_unless_another_is_named(three: tuple[Path, fellrec.Compared]) -> None:
    home, found = three
    other = compare(home, settings={"train": {"examples": 6}}, against="alone")
    assert set(found.summary["paired"]) >= {"fedavg vs fellrec", "alone vs fellrec"}
    assert set(other.summary["paired"]) >= {"fellrec vs alone", "fedavg vs alone"}


@pytest.mark.parametrize(
    ("chosen", "says"),
    [
        ({"variants": {}}, "'variants' is empty"),
        ({"variants": {"No Gate": {}}}, "'No Gate' cannot name a variant"),
        ({"variants": {"a": {"seed": 3}}}, "sets 'seed' itself"),
        ({"settings": {"run-name": "x"}}, "sets 'run-name' itself"),
        ({"against": "median"}, "'median' is no variant"),
        ({"seeds": 0}, "'seeds' is 0"),
        ({"seeds": [1, 1]}, r"'seeds' is \[1, 1\]"),
        ({"name": ""}, "has no name"),
        ({"variants": {"a": {"train.examplez": 3}}}, "train.examples"),
    ],
)
def test_what_cannot_be_compared_starts_nothing(fellrec_home: Path, chosen: dict, says: str) -> None:
    with pytest.raises(fellrec.ConfigError, match=says):
        compare(fellrec_home, **chosen)
    assert not (fellrec_home / "runs").exists()
