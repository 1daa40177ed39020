"""fellrec/report/chapters/settings.py: the recipe in a report leads to the same configuration."""

from __future__ import annotations

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from common.config import RunConfig, flatten, from_flat
from fellrec.recipes import flat
from fellrec.report.chapters.settings import rebuild, recipe
from fellrec.report.history import History
from fellrec.report.record import Record
from tests.fellrec.report.logs import result

TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@given(TEXT, TEXT, st.integers(0, 10**9), st.floats(1e-9, 1e9), st.booleans())
def test_the_recipe_gives_the_configuration_back(name: str, told: str, seed: int, rate: float, on: bool) -> None:
    chosen = {"recipe": name, "generate.instruction": told, "seed": seed, "train.learning-rate": rate, "split.on": on}
    config = from_flat(chosen)
    again = from_flat(flat(tomllib.loads(recipe(dict(flatten(config))))))
    assert again == config


def test_defaults_and_the_places_of_a_run_are_left_out() -> None:
    config = dict(flatten(RunConfig())) | {"home": "/somewhere", "run-name": "x", "fedprox.mu": 0.5}
    assert recipe(config) == "[fedprox]\nmu = 0.5"
    assert tomllib.loads(recipe(dict(flatten(RunConfig())))) == {}


def test_commands_name_commit_data_and_mode() -> None:
    config = dict(flatten(RunConfig())) | {"data.sets": "films:1 sample:2 games:4"}
    told = rebuild(Record("one", config, History(), result())).body
    assert "git checkout abc123" in told and "data prepare films" in told and "data prepare games" in told
    assert "data prepare sample" not in told and "fellrec run again.toml" in told
    assert "models/" not in told
    own = rebuild(Record("one", config | {"model.name": "home:mine"}, History(), result())).body
    assert "copy models/mine, or make it again (fellrec pretrain)" in own
    run = result()["run"] | {"mode": "deployment"}
    assert "flwr run ." in rebuild(Record("one", config, History(), result(run=run))).body
