"""fellrec/commands/check.py: a model that lies here is looked at, one that does not is left to the machines that have it."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from common.errors import ConfigError
from fellrec.cli import app
from tests.federation import tiny_causal_model, tiny_model


def check(model: str, *settings: str) -> str:
    chosen = [part for setting in (f"model.name={model}", *settings) for part in ("--set", setting)]
    done = CliRunner().invoke(app, ["check", "demo", *chosen], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("home", [False, True])
def test_a_prompt_that_does_not_fit_is_found_at_once(fellrec_home: Path, home: bool) -> None:
    folder = tiny_causal_model(fellrec_home / "models" / "toy")
    words = ["model.recommender=generative", "model.item-tokens=20", "train.freeze-items-from=0"]
    name = "home:toy" if home else str(folder)
    with pytest.raises(ConfigError, match="'model.max-tokens' = 100, .*'generate.instruction'"):
        check(name, *words, "model.max-tokens=100")
    assert "model.max-tokens = 400" in check(name, *words, "model.max-tokens=400")


def test_a_model_of_other_machines_is_not_looked_at(fellrec_home: Path) -> None:
    for name in (str(fellrec_home / "elsewhere"), "home:elsewhere", "owner/of-the-hub"):
        assert "model.max-tokens = 5000" in check(name, "model.max-tokens=5000")
    with pytest.raises(ConfigError, match="'model.max-tokens' = 5000, but the model reads 66"):
        check(str(tiny_model(fellrec_home / "here")), "model.max-tokens=5000")
