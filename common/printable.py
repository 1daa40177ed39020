"""Text from outside, as it may be shown: it neither steers a terminal nor turns the direction of what follows."""

from __future__ import annotations

import json
import re
from typing import Any

_SEQUENCES = re.compile("(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]|\x1b\\][^\x07\x1b\x9c]*(?:\x07|\x1b\\\\|\x9c)")
"""Escape sequences: colours, cursors, titles of windows, links."""

_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, such as turn the direction of what follows, and halves of characters, which cannot be encoded."""

UNKNOWN = "\ufffd"


def printable(text: str) -> str:
    """The text without escape sequences; any other unseen character but tab and line end becomes U+FFFD."""
    return _UNSEEN.sub(UNKNOWN, _SEQUENCES.sub("", text))


def printable_json(value: Any, indent: int | None = 1) -> str:
    """JSON with the same content, in which unseen characters are escaped."""
    written = json.dumps(value, indent=indent, ensure_ascii=False)
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", written)
