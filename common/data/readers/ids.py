"""Ids as tables write them: those that stand for nobody, and whole numbers that a program has turned into decimals."""

from __future__ import annotations

import re

from common.errors import DataError

_ABSENT = {"", "nan", "none", "null", "<na>"}
_DECIMAL = re.compile(r"(-?\d+)\.0+")


def absent(text: str) -> bool:
    """Whether an id, or what a program wrote in its place, stands for nobody: empty, ``nan``, ``None``, ``null``."""
    return text.strip().casefold() in _ABSENT


class IdColumn:
    """The ids of one column; ``7.0`` is the number 7, as long as the column holds no ``7`` beside it.

    Programs write whole numbers with a decimal point as soon as one of the column is missing.
    """

    def __init__(self, file: str, column: str) -> None:
        self._file, self._column = file, column
        self._decimal: tuple[int, str] | None = None
        self._whole: tuple[int, str] | None = None

    def plain(self, row: int, text: str) -> str:
        """The id without the decimal point of a whole number; what is no number stays what it is."""
        if "." in text and (found := _DECIMAL.fullmatch(text.strip())):
            self._decimal = self._decimal or (row, text)
            return found[1]
        if self._whole is None and text.strip().isdecimal():
            self._whole = row, text
        return text

    def close(self) -> None:
        """Raise DataError where both ways of writing came: ``7.0`` beside ``7`` may be one id or two."""
        if self._decimal and self._whole:
            (decimal, written), (row, plain) = self._decimal, self._whole
            raise DataError(
                f"{self._file!r}: column {self._column!r} holds {written!r} in row {decimal} and {plain!r} in row {row}",
                "write all ids of the column in one way, without '.0'",
            )
