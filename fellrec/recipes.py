"""Recipes: TOML files that override some of the settings, read as Flower reads them."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from common.config import RunConfig, Value, from_flat
from common.errors import ConfigError
from fellrec.flower_app import root


def read_recipe(name: str) -> dict[str, Value]:
    """The flat settings of a recipe, by path or by its name in ``recipes/``.

    Raises
    ------
    ConfigError : there is no such recipe, or it is no TOML.
    """
    own = root() / "recipes"
    known = own / f"{name}.toml"
    path = known if known.is_file() else Path(name).expanduser()
    names = ", ".join(sorted(file.stem for file in own.glob("*.toml")))
    if path.is_dir():
        inside = ", ".join(repr(str(file)) for file in sorted(path.glob("*.toml")))
        raise ConfigError(
            f"{name!r} is a folder, not a recipe",
            f"give {f'one of {inside}' if inside else 'a TOML file'}, or one of: {names}",
        )
    if not path.is_file():
        beside = path.parent / f"{path.name}.toml"
        hint = f"did you mean {str(beside)!r}? " if beside.is_file() else ""
        raise ConfigError(f"no recipe {name!r}", f"{hint}give a TOML file, or one of: {names}")
    try:
        return flat(tomllib.loads(path.read_text(encoding="utf-8-sig")))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"recipe {str(path)!r} cannot be read: {error}", "see recipes/ for examples") from error


def settings(recipe: Mapping[str, Value], overrides: Iterable[str]) -> tuple[dict[str, Value], RunConfig]:
    """A recipe with ``key=value`` overrides, as flat settings and as the configuration that they make."""
    merged = dict(recipe)
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise ConfigError(f"override {override!r} is not of the form key=value")
        merged[key.strip()] = _value(text.strip())
    return merged, from_flat(merged)


def override(key: str, value: Value) -> str:
    """The ``key=value`` that :func:`settings` reads as this value; text is quoted only where it would be read as another."""
    if isinstance(value, str) and value == value.strip() and _value(value) == value:
        return f"{key}={value}"
    return f"{key}={json.dumps(value, ensure_ascii=False)}"


def flat(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Value]:
    """Nested tables as one flat mapping with dotted keys."""
    found: dict[str, Value] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        elif isinstance(value, bool | int | float | str):
            found[f"{prefix}{key}"] = value
        else:
            raise ConfigError(
                f"setting {prefix + key!r} = {value!r} is a {type(value).__name__}",
                "settings are text, numbers or true/false",
            )
    return found


def _value(text: str) -> Value:
    try:
        value = tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        return text
    return value if isinstance(value, bool | int | float | str) else text
