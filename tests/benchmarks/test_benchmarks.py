"""Every benchmark runs and prints what it must; how fast anything was is not looked at."""

from __future__ import annotations

import importlib
import json
import math

import pytest

from benchmarks import harness

RATIOS = {
    "split_step": {1.10, 1.40},
    "transport": {None, 50.0},
    "batching": {2.0, 1.3, 0.95, 1.2},
    "cut_cost": {1.0, None},
    "recovery": {5.0, None},
    "sessions": {1.01, 0},
    "hostile": {3.0, 1.2, 1e6},
    "poison": {0.95},
    "recommend": {1.25},
    "epsilon": {1.0},
    "start_up": {None},
}


@pytest.mark.live
@pytest.mark.parametrize("name", RATIOS)
def test_a_benchmark_prints_one_object_with_ratios_and_targets(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    module = importlib.import_module(f"benchmarks.{name}")
    harness.main(name, module.__doc__, module.measure, ["--tiny"])
    report = json.loads(capsys.readouterr().out)
    assert report["name"] == name and report["size"] == "tiny"
    assert report["machine"].keys() == {"cpu", "cores", "gpu"} and report["machine"]["cores"] >= 1
    assert {one["target"] for one in report["results"]} == RATIOS[name]
    cases = [one["case"] for one in report["results"]]
    assert len(set(cases)) == len(cases)
    for one in report["results"]:
        assert math.isfinite(one["ratio"]) and one["ratio"] >= 0
        assert one["better"] in ("lower", "higher") and one["unit"] in ("x", "ms", "s", "bytes")
    if name == "cut_cost":
        # not a matter of speed: no weight is missing, none is held twice
        assert report["results"][0]["ratio"] == 1.0
    if name == "epsilon":
        # nor is this: no attack may prove more than the accountant says
        assert all(one["ratio"] <= 1 for one in report["results"])
    if name == "sessions":
        assert report["results"][1]["ratio"] == 0


def test_only_the_full_form_leaves_a_file(tmp_path, monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(harness, "RESULTS", tmp_path / "results")
    one = harness.result("a case", 0.5, None, "lower", "x", more=1)
    for form in ([], ["--tiny"]):
        harness.main("example", "An example.", lambda size: [one], form)
        assert json.loads(capsys.readouterr().out)["results"] == [one]
        assert not (tmp_path / "results").exists()
    harness.main("example", "An example.", lambda size: [one], ["--full"])
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["example.json"]
    assert json.loads((tmp_path / "results" / "example.json").read_text()) == json.loads(capsys.readouterr().out)


def test_a_number_that_is_not_finite_is_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    spoilt = harness.result("a case", math.nan, 1.0, "lower", "x")
    with pytest.raises(ValueError, match="not JSON compliant"):
        harness.main("example", "An example.", lambda size: [spoilt], ["--tiny"])
    assert capsys.readouterr().out == ""


def test_cases_take_turns_and_ratios_are_of_medians() -> None:
    order: list[str] = []
    seconds = harness.interleaved({name: (lambda name=name: order.append(name)) for name in "ab"}, 3, warm_up=1)
    assert "".join(order) == "abababab"
    assert [len(of) for of in seconds.values()] == [3, 3]
    ratio, (low, high) = harness.ratio_of([2.0, 4.0, 90.0], [1.0, 2.0, 3.0])
    assert ratio == 2.0 and low == 2.0 and high == 16.0


@pytest.mark.parametrize("wrong", (["--fast"], ["full"]))
def test_an_unknown_argument_is_refused(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        harness.main("example", "An example.", lambda size: [], wrong)
    assert capsys.readouterr().out == ""
