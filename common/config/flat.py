"""From Flower's flat run configuration to the typed one, and back."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from common.config.conflicts import refuse_conflicts
from common.config.section import Section
from common.config.sections import RunConfig
from common.errors import ConfigError

Value = bool | int | float | str
"""What a setting may be in Flower's flat mapping."""


def from_flat(flat: Mapping[str, Value]) -> RunConfig:
    """The configuration from Flower's flat mapping; keys that are left out take their defaults.

    Raises
    ------
    ConfigError : an unknown key (with the nearest right one), a wrong type, a value out of range (NaN and infinities
        are always out of range), or settings that contradict each other.
    """
    known = dict(flatten(RunConfig()))
    nested: dict[str, Any] = {}
    for key, value in flat.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r} (default {known[near[0]]!r})?" if near else "see docs/configuration.md"
            raise ConfigError(f"unknown setting {key!r} = {value!r}", hint)
        *sections, name = key.split(".")
        place = nested
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = value
    try:
        config = RunConfig.model_validate(nested)
    except ValidationError as error:
        raise _named(error, flat, known) from None
    refuse_conflicts(config)
    return config


def flatten(config: Section, prefix: str = "") -> Iterator[tuple[str, Value]]:
    """The flat ``(key, value)`` pairs of a section, as Flower writes them."""
    for name, field in type(config).model_fields.items():
        value, key = getattr(config, name), f"{prefix}{field.alias or name.replace('_', '-')}"
        if isinstance(value, Section):
            yield from flatten(value, f"{key}.")
        else:
            yield key, value


def _named(error: ValidationError, flat: Mapping[str, Value], known: Mapping[str, Value]) -> ConfigError:
    problem = error.errors()[0]
    key = ".".join(str(part) for part in problem["loc"])
    value, why, hint = flat.get(key), problem["msg"], f"the default is {known.get(key)!r}"
    expected = problem.get("ctx", {}).get("expected")
    if expected and isinstance(value, str):
        options = [option.strip(" '") for option in expected.replace(" or ", ",").split(",")]
        near = difflib.get_close_matches(value, options, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]!r}?" if near else hint
    return ConfigError(f"setting {key!r} = {value!r}: {why}", hint)
