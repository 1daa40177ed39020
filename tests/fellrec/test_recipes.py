"""fellrec/recipes.py: recipes and overrides."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import ConfigError
from fellrec.recipes import flat, read_recipe, settings


def test_nested_tables_become_dotted_keys() -> None:
    assert flat({"seed": 1, "train": {"learning-rate": 0.1}}) == {"seed": 1, "train.learning-rate": 0.1}
    with pytest.raises(ConfigError, match="train.examples.*list"):
        flat({"train": {"examples": [1]}})


def test_overrides_are_typed_as_toml_and_words_need_no_quotes() -> None:
    _, config = settings(
        {"seed": 1}, ["seed=3", "strategy.name=fedavg", "train.learning-rate=0.5", "fellrec.heating=false"]
    )
    assert (config.seed, config.strategy.name, config.train.learning_rate, config.fellrec.heating) == (
        3,
        "fedavg",
        0.5,
        False,
    )
    with pytest.raises(ConfigError, match="key=value"):
        settings({}, ["seed"])


def test_a_recipe_by_path_and_one_that_is_no_toml(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("[train]\nexamples = 5\n")
    assert read_recipe(str(tmp_path / "mine.toml")) == {"train.examples": 5}
    (tmp_path / "bad.toml").write_text("train = = 3")
    with pytest.raises(ConfigError, match="bad.toml"):
        read_recipe(str(tmp_path / "bad.toml"))


def test_a_recipe_whose_ending_was_left_out_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop.toml").write_text("seed = 1\n")
    with pytest.raises(ConfigError) as refused:
        read_recipe("shop")
    assert "did you mean 'shop.toml'?" in refused.value.hint and read_recipe("shop.toml") == {"seed": 1}


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("seed = 5\n", encoding="utf-8-sig")
    assert read_recipe(str(tmp_path / "mine.toml")) == {"seed": 5}


def test_a_folder_names_its_recipes_and_those_of_the_checkout(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is a folder, not a recipe \(give a TOML file, or one of: .*demo"):
        read_recipe(str(tmp_path))
    (tmp_path / "mine.toml").write_text("seed = 5\n")
    with pytest.raises(ConfigError, match=r"is a folder, not a recipe \(give one of '.*mine\.toml', or one of: .*demo"):
        read_recipe(str(tmp_path))
    for name in (str(tmp_path / "nothing"), "/", "..", ""):
        with pytest.raises(ConfigError, match="one of: .*demo"):
            read_recipe(name)
