"""fellrec/click_export.py: a folder from which torch and safetensors alone compute what the run's model does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from common.data.click_folder import save_clicks
from common.data.clicks import ClickLog
from common.errors import ConfigError, ModelError, RunError
from common.recommenders.click.run import click_run
from common.recommenders.click.warm_start import item_codes, user_codes
from common.run_folder import RunFolder
from fellrec import click_export
from fellrec.cli import app
from fellrec.export import export
from fellrec.served import served_adapter
from tests.clicks import tiny_log
from tests.fellrec.served import Runs

CLIENT = "toy-07"
FAST = {"fedpa__private_learning_rate": 0.3, "fedpa__group_learning_rate": 0.1, "fedpa__shared_learning_rate": 0.1}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(tmp_path_factory.mktemp("runs"))


def follow(out: Path) -> dict[str, Any]:
    """What the card's two programs make, word for word but for the place that they name."""
    programs = re.findall(r"^```python\n(.*?)^```$", (out / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    program = "\n".join(programs)
    assert len(programs) == 2 and "fellrec" not in program and program.count('"this folder"') == 1
    assert set(re.findall(r"^(?:import|from) (\w+)", program, re.MULTILINE)) == {
        "json",
        "pathlib",
        "torch",
        "safetensors",
    }
    there: dict[str, Any] = {}
    exec(compile(program.replace('"this folder"', repr(str(out))), "README.md", "exec"), there)
    return there


def attributes(log: ClickLog, what: str, row: int) -> dict[str, str]:
    own = log.user_attributes if what == "user" else log.item_attributes
    return {name: values[code] for name, values, code in zip(own.names, own.values, own.codes[row], strict=True)}


@pytest.mark.parametrize(
    ("strategy", "chosen"),
    [
        ("fedpa", {}),
        ("fedavg", {}),
        ("local", {}),
        ("fellrec", {}),
        ("fedpa", {"fedpa__user_adapter": False}),
        ("fedpa", {"fedpa__gate": False}),
        ("fedpa", {"click__group_by": "city"}),
        ("fedpa", {"fedpa__group_adapters": False}),
    ],
)
def test_the_card_s_program_gives_the_run_s_logits(
    runs: Runs, fellrec_home: Path, tmp_path: Path, strategy: str, chosen: dict[str, object]
) -> None:
    run, log = runs.get("click", strategy__name=strategy, **FAST, **chosen), tiny_log()
    exported = export(run, CLIENT, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    click = click_run(run.config())
    model = click.of_client(served_adapter(run, CLIENT))
    tensors = load_file(tmp_path / "out" / "model.safetensors")
    assert tensors.keys() == model.state_dict().keys()
    assert exported.parameters == sum(tensor.numel() for tensor in tensors.values()) and exported.moved > 1e-3
    there = follow(tmp_path / "out")
    items = [{"item_id": key, **attributes(log, "item", item)} for item, key in enumerate(log.item_keys)]
    for user in range(len(log.user_keys)):
        users = user_codes(log)[user].expand(len(items), -1)
        with torch.no_grad():
            wanted = model(users, item_codes(log, True))
            untrained = click.model(users, item_codes(log, True))
        found = there["model"].logits(attributes(log, "user", user), items)
        assert torch.equal(found, wanted) and not torch.equal(found, untrained)
    with torch.no_grad():
        zero = torch.zeros(1, 2, dtype=torch.int64)
        unknown = there["model"].logits({"age": "of another log"}, [{}])
        assert torch.equal(unknown, model(zero, zero)), "what is unknown is code 0"


def test_the_card_says_what_it_is_and_names_no_path_of_this_machine(
    runs: Runs, fellrec_home: Path, tmp_path: Path
) -> None:
    run = runs.get("click", **FAST)
    export(run, CLIENT, tmp_path / "out")
    card, result = (tmp_path / "out" / "README.md").read_text(), run.result()
    own = result["metrics"]["clients"][CLIENT]
    for told in (
        f"`{CLIENT}`",
        result["data"]["digest"],
        "generated data",
        result["privacy"]["assumptions"],
        "the paths of age, city",
        f"| {own['logloss']:.4f} |",
        f"| {result['metrics']['baselines']['warm_start']['auc']:.4f} |",
        f"`{run.name}`",
    ):
        assert told in card, told
    for path in (tmp_path / "out").iterdir():
        assert run.config().home.encode() not in path.read_bytes() and b"user-7" not in path.read_bytes(), path.name


def test_a_node_s_own_folder_names_the_same_codes(runs: Runs, fellrec_home: Path, tmp_path: Path) -> None:
    run = runs.get("click", **FAST)
    save_clicks(tiny_log().restrict([7], "own"), tmp_path / "own")
    export(run, CLIENT, tmp_path / "one")
    export(run, CLIENT, tmp_path / "other", tmp_path / "own")
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "other" / path.name).read_bytes()


def test_a_model_that_learned_nothing_is_told(runs: Runs, fellrec_home: Path, tmp_path: Path) -> None:
    run = runs.get("click", strategy__name="fedavg", **FAST)
    copy = RunFolder(tmp_path / "run")
    copy.path.mkdir()
    for name in ("config.json", "result.json"):
        (copy.path / name).write_bytes((run.path / name).read_bytes())
    copy.save_adapter(CLIENT, click_run(run.config()).start())
    arguments = ["export", str(copy.path), "--client", CLIENT, "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0 and "to the bit" in done.output and "nothing was learned" in done.output
    assert "nothing was learned" in (tmp_path / "out" / "README.md").read_text()


def test_what_computes_something_else_is_not_written(
    runs: Runs, fellrec_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = click_export._layers
    monkeypatch.setattr(click_export, "_layers", lambda model: [one | {"scale": 3.0} for one in layers(model)])
    with pytest.raises(ModelError, match="differs"):
        export(runs.get("click", **FAST), CLIENT, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_another_client_and_a_full_folder_are_refused(runs: Runs, fellrec_home: Path, tmp_path: Path) -> None:
    run = runs.get("click", **FAST)
    with pytest.raises(RunError, match="no adapter for client 'toy-01'"):
        export(run, "toy-01", tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "something").touch()
    with pytest.raises(ConfigError, match="not an empty folder"):
        export(run, CLIENT, tmp_path / "full")
    log = tiny_log()
    save_clicks(ClickLog(**{**log.__dict__, "item_keys": tuple(f"j{i}" for i in range(12))}), tmp_path / "other")
    with pytest.raises(ModelError, match="whose items or attributes are not those"):
        export(run, CLIENT, tmp_path / "out", tmp_path / "other")
    assert not (tmp_path / "out").exists()
