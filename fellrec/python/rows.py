"""Rows for a data frame, which a notebook shows as a table without one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

SHOWN = 100
"""Rows that a notebook shows; all are there."""


class Rows(list[dict[str, Any]]):
    """A list of flat dicts: ``pandas.DataFrame(rows)`` takes it as it is."""

    def _repr_html_(self) -> str:
        columns = list(dict.fromkeys(name for row in self for name in row))
        body = "".join(_line("td", (row.get(name) for name in columns)) for row in self[:SHOWN])
        left = f"<p>and {len(self) - SHOWN} more rows</p>" if len(self) > SHOWN else ""
        return f"<table><thead>{_line('th', columns)}</thead><tbody>{body}</tbody></table>{left}"


def flat_row(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one row with dotted names: ``{"seconds": {"train": 1.0}}`` as ``{"seconds.train": 1.0}``."""
    row: dict[str, Any] = {}
    for name, value in nested.items():
        if isinstance(value, Mapping):
            row |= flat_row(value, f"{prefix}{name}.")
        else:
            row[f"{prefix}{name}"] = value
    return row


def _line(cell: str, values: Iterable[Any]) -> str:
    return f"<tr>{''.join(f'<{cell}>{escape(_text(value))}</{cell}>' for value in values)}</tr>"


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)
