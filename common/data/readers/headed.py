"""A table with a header, whatever its encoding and delimiter."""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from reprlib import repr as short

from common.data.readers.binary import HEAD, marked
from common.data.readers.stream import literal_table, opened, table, unpacked
from common.data.readers.text import clean
from common.errors import DataError

_BLOCK = 2**20
_LOOKED_AT = 200  # bytes in which UTF-16 without a mark shows
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
# Where a quote is doubled, what follows the closing one is a delimiter or the row's end.
_ESCAPED = re.compile(r'(?:^|[,;])"[^"]*\\"[^,;"\r\n]')


@dataclass(frozen=True)
class Headed:
    """A table and what its columns are called.

    Parameters
    ----------
    quoted : whether quotation marks enclose fields; in a table of tabs they are characters, unless its header is quoted.
    escape : what goes before a quote inside a quoted field; None where it is doubled.
    """

    path: Path
    encoding: str
    delimiter: str
    quoted: bool
    escape: str | None
    header: tuple[str, ...]

    @classmethod
    def open(cls, path: Path) -> Headed:
        """Find out encoding, delimiter and header.

        Raises DataError for a file that cannot be read, or has a column twice.
        """
        encoding = _encoding(path)
        with opened(path, encoding) as text:
            first = next((line for line in text if line.strip()), "")
        delimiter = max(",;\t", key=first.count)
        cells = first.strip().split(delimiter)
        quoted = delimiter != "\t" or all(len(cell) > 1 and cell[0] == cell[-1] == '"' for cell in cells)
        found = cls(path, encoding, delimiter, quoted, _escape(path, encoding) if quoted else None, ())
        _, header = next(found._all(), (0, []))
        # Atomic files of RecBole write the type after a colon: item_id:token.
        columns = tuple(clean(column).partition(":")[0] for column in header)
        twice = [name for name, count in Counter(_plain(column) for column in columns).items() if name and count > 1]
        if twice:
            same = [column for column in columns if _plain(column) == twice[0]]
            raise DataError(f"{path.name!r} has a column twice: {short(same)}", "leave one of them out, or rename it")
        return replace(found, header=columns)

    def find(self, aliases: tuple[str, ...]) -> int | None:
        """The column of the first alias that is there."""
        columns = [_plain(column) for column in self.header]
        return next((columns.index(_plain(alias)) for alias in aliases if _plain(alias) in columns), None)

    def column(self, what: str, aliases: tuple[str, ...]) -> int:
        """The column of the first alias that is there; raises DataError where none is."""
        found = self.find(aliases)
        if found is None:
            raise DataError(
                f"{self.path.name!r} has no column for the {what}; its columns are {short(list(self.header))}",
                f"call it {aliases[0]!r} (also taken: {', '.join(aliases[1:])})",
            )
        return found

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Line number and fields of each row after the header."""
        return islice(self._all(), 1, None)

    def _all(self) -> Iterator[tuple[int, list[str]]]:
        if self.quoted:
            return table(self.path, self.encoding, self.delimiter, self.escape)
        return literal_table(self.path, self.encoding, self.delimiter)


def _encoding(path: Path) -> str:
    """Told by its mark, UTF-16 by its zero bytes, UTF-8 where all of the file is, else the Windows encoding of the West."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with unpacked(path) as source:
        block = source.read(_BLOCK)
        if said := marked(block[:HEAD]):
            return said
        start = block[:_LOOKED_AT]
        if start[1::2].count(0) > len(start) // 4:
            return "utf-16-le"
        if start[::2].count(0) > len(start) // 4:
            return "utf-16-be"
        if len(_CONTROL.findall(start)) > len(start) // 10:
            raise DataError(
                f"{path.name!r} is not text: it begins with {start[:20]!r}", "save its table as CSV in UTF-8"
            )
        try:
            while block:
                decoder.decode(block)
                block = source.read(_BLOCK)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return "cp1252" if _is_cp1252(path) else "latin-1"
    return "utf-8-sig"


def _escape(path: Path, encoding: str) -> str | None:
    """A backslash where one goes before a quote in the middle of a quoted field, as MySQL and others write them."""
    with opened(path, encoding) as text:
        return "\\" if any('\\"' in line and _ESCAPED.search(line) for line in text) else None


def _is_cp1252(path: Path) -> bool:
    with unpacked(path) as source:
        while block := source.read(_BLOCK):
            if any(byte in block for byte in b"\x81\x8d\x8f\x90\x9d"):
                return False
    return True


def _plain(column: str) -> str:
    """A column's name without case and marks; one that is not in Latin letters stays what it is."""
    return re.sub(r"[^a-z0-9]", "", column.lower()) or column
