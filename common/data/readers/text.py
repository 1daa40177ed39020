"""Text as it comes, made readable; files as they come, made rows."""

from __future__ import annotations

import html
from pathlib import Path

from common.errors import DataError


def clean(text: str) -> str:
    """HTML entities decoded, also those encoded twice; runs of white space as one space."""
    for _ in range(3):
        decoded = html.unescape(text)
        if decoded == text:
            break
        text = decoded
    return " ".join(text.split())


def contents(path: Path) -> bytes:
    """A file's bytes; raises DataError where they cannot be had."""
    try:
        return path.read_bytes()
    except OSError as error:
        hint = "give the folder or file of the raw data"
        raise DataError(f"cannot read {str(path)!r}: {error.strerror}", hint) from error


def decoded(path: Path, encoding: str = "utf-8-sig") -> str:
    """A file's text with ``\\n`` at the line ends; raises DataError where it is not there, or not in this encoding."""
    try:
        return contents(path).decode(encoding).replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        said = f"{path.name!r} is not {encoding} text: {error.reason} at byte {error.start}"
        raise DataError(said, "save it as UTF-8") from error
