"""Recipes and settings as Python has them: names, paths, nested mappings; as the flat settings of a run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

from common.config import RunConfig, Value, from_flat
from fellrec.recipes import flat, override, read_recipe

Recipe = str | os.PathLike[str] | Mapping[str, Any]
"""A recipe's name, its path, or its content: nested tables as in TOML, or flat with dotted keys."""

Settings = Mapping[str, Any]
"""Settings by their names as in ``docs/configuration.md``: nested tables, or flat with dotted keys."""


def recipe_settings(recipe: Recipe) -> dict[str, Value]:
    """The flat settings of a recipe.

    Raises
    ------
    ConfigError : there is no such recipe, or a value is neither text, a number nor true or false.
    """
    return flat_settings(recipe) if isinstance(recipe, Mapping) else read_recipe(os.fspath(recipe))


def flat_settings(nested: Settings) -> dict[str, Value]:
    """Settings as Flower has them: flat, with plain values; paths become text, numpy's numbers Python's.

    Raises
    ------
    ConfigError : a value is neither text, a number nor true or false.
    """
    return flat(_plain(nested))


def merged(recipe: Recipe, changed: Settings | None = None) -> tuple[dict[str, Value], RunConfig]:
    """A recipe with changed settings, flat and as the configuration that they make.

    Raises
    ------
    ConfigError : there is no such recipe, or a setting is unknown, of the wrong type or out of range.
    """
    found = recipe_settings(recipe) | flat_settings(changed or {})
    return found, from_flat(found)


def words(nested: Settings) -> list[str]:
    """Settings as the ``key=value`` of ``fellrec``'s options, which read them back as they are."""
    return [override(key, value) for key, value in flat_settings(nested).items()]


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, bool | str):
        return value
    if isinstance(value, Integral):
        return int(value)
    return float(value) if isinstance(value, Real) else value
