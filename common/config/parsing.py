"""Settings that are texts with a form of their own."""

from __future__ import annotations

from common.errors import ConfigError


def parse_groups(text: str) -> dict[str, tuple[str, ...]]:
    """The values of every grouping attribute, from ``attribute=value,value`` joined by spaces.

    Raises
    ------
    ConfigError : it has another form, or a name or value stands twice.
    """
    found: dict[str, tuple[str, ...]] = {}
    for part in text.split():
        attribute, equals, rest = part.partition("=")
        values = tuple(rest.split(","))
        if (
            not equals
            or not attribute.isidentifier()
            or attribute in found
            or not all(values)
            or len(set(values)) < len(values)
        ):
            raise ConfigError(
                f"'fedpa.groups' = {text!r}: {part!r} names no attribute with distinct values",
                "write 'branch=north,south chain=a,b'",
            )
        found[attribute] = values
    return found


def parse_pairs(setting: str, text: str) -> dict[str, str]:
    """Names with a value each, from ``name=value`` joined by spaces.

    Raises
    ------
    ConfigError : it has another form, or a name stands twice.
    """
    found: dict[str, str] = {}
    for part in text.split():
        name, equals, value = part.partition("=")
        if not (name and equals and value) or name in found:
            raise ConfigError(f"{setting!r} = {text!r}: {part!r} is no 'name=value'", "write 'one=value other=value'")
        found[name] = value
    return found
