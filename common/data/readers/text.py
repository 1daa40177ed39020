"""Text as it comes, made readable."""

from __future__ import annotations

import html


def clean(text: str) -> str:
    """HTML entities decoded, also those encoded twice; runs of white space as one space."""
    for _ in range(3):
        decoded = html.unescape(text)
        if decoded == text:
            break
        text = decoded
    return " ".join(text.split())
