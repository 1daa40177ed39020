"""A table with a header, whatever its encoding and delimiter."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from common.data.readers.stream import opened, table
from common.data.readers.text import clean
from common.errors import DataError

_BLOCK = 2**20
_LOOKED_AT = 200  # bytes in which UTF-16 without a mark shows


@dataclass(frozen=True)
class Headed:
    """A table and what its columns are called."""

    path: Path
    encoding: str
    delimiter: str
    header: tuple[str, ...]

    @classmethod
    def open(cls, path: Path) -> Headed:
        """Find out encoding, delimiter and header; raises DataError for a file that cannot be read."""
        encoding = _encoding(path)
        with opened(path, encoding) as text:
            first = next((line for line in text if line.strip()), "")
        delimiter = max(",;\t", key=first.count)
        _, header = next(table(path, encoding, delimiter), (0, []))
        # Atomic files of RecBole write the type after a colon: item_id:token.
        return cls(path, encoding, delimiter, tuple(clean(column).partition(":")[0] for column in header))

    def find(self, aliases: tuple[str, ...]) -> int | None:
        """The column of the first alias that is there."""
        columns = [_plain(column) for column in self.header]
        return next((columns.index(_plain(alias)) for alias in aliases if _plain(alias) in columns), None)

    def column(self, what: str, aliases: tuple[str, ...]) -> int:
        """The column of the first alias that is there; raises DataError where none is."""
        found = self.find(aliases)
        if found is None:
            raise DataError(
                f"{self.path.name!r} has no column for the {what}; its columns are {list(self.header)!r}",
                f"call it {aliases[0]!r} (also taken: {', '.join(aliases[1:])})",
            )
        return found

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Line number and fields of each row after the header."""
        return islice(table(self.path, self.encoding, self.delimiter), 1, None)


def _encoding(path: Path) -> str:
    """UTF-16 by its mark or its zero bytes, UTF-8 where all of the file is, else the Windows encoding of the West."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with opened(path, "latin-1", newline="") as text:
        # The bytes of the unpacked file: Latin-1 maps each to one character and back.
        block = text.read(_BLOCK).encode("latin-1")
        if block.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return "utf-16"
        start = block[:_LOOKED_AT]
        if start[1::2].count(0) > len(start) // 4:
            return "utf-16-le"
        if start[::2].count(0) > len(start) // 4:
            return "utf-16-be"
        try:
            while block:
                decoder.decode(block)
                block = text.read(_BLOCK).encode("latin-1")
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return "cp1252" if _is_cp1252(path) else "latin-1"
    return "utf-8-sig"


def _is_cp1252(path: Path) -> bool:
    with opened(path, "latin-1", newline="") as text:
        while block := text.read(_BLOCK):
            if any(character in block for character in "\x81\x8d\x8f\x90\x9d"):
                return False
    return True


def _plain(column: str) -> str:
    return re.sub(r"[^a-z0-9]", "", column.lower())
