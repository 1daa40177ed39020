"""fellrec/python/settings.py: settings as Python has them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import ConfigError
from fellrec.python.settings import flat_settings, merged, recipe_settings, words
from fellrec.recipes import _value, settings

PLAIN = st.one_of(
    st.booleans(), st.integers(-(2**60), 2**60), st.floats(allow_nan=False, allow_infinity=False), st.text()
)


def test_nested_and_dotted_settings_change_a_recipe_by_name_path_or_content(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('recipe = "mine"\n[train]\nexamples = 5\n')
    changed = {"num-server-rounds": 2, "train": {"batch-size": 3}}
    for recipe in (tmp_path / "mine.toml", str(tmp_path / "mine.toml"), {"recipe": "mine", "train.examples": 5}):
        flat, config = merged(recipe, changed)
        assert flat == {"recipe": "mine", "train.examples": 5, "num-server-rounds": 2, "train.batch-size": 3}
        assert (config.train.examples, config.train.batch_size, config.num_server_rounds) == (5, 3, 2)
    assert recipe_settings("demo")["recipe"] == "demo"


def test_paths_and_numbers_of_numpy_are_plain_values(tmp_path: Path) -> None:
    found = flat_settings(
        {"model": {"name": tmp_path}, "seed": np.int64(3), "fellrec.alpha": np.float32(0.5), "split.on": True}
    )
    assert found == {"model.name": str(tmp_path), "seed": 3, "fellrec.alpha": 0.5, "split.on": True}
    assert [type(value) for value in found.values()] == [str, int, float, bool]


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"train.learning-rat": 1}, "train.learning-rate"),
        ({"train": {"examples": [1, 2]}}, "'train.examples'.*list"),
        ({"seed": None}, "'seed'.*NoneType"),
        ({"num_server_rounds": 3}, "num-server-rounds"),
    ],
)
def test_what_is_no_setting_is_named(changed: dict, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        merged("demo", changed)


@given(st.dictionaries(st.sampled_from(["a", "b.c", "d-e"]), PLAIN))
def test_options_read_back_what_was_given(given_settings: dict) -> None:
    read = {}
    for word in words(given_settings):
        key, _, text = word.partition("=")
        read[key] = _value(text.strip())
    assert read == given_settings and [type(v) for v in read.values()] == [type(v) for v in given_settings.values()]


def test_plain_words_stand_without_quotes() -> None:
    found = words({"strategy": {"name": "fedavg"}, "recipe": "true", "data.sets": "a:1 b:2", "split.on": False})
    assert found == ["strategy.name=fedavg", 'recipe="true"', "data.sets=a:1 b:2", "split.on=false"]
    assert settings({}, found)[1].recipe == "true"
