"""Files that hold no text: told by their first bytes, with what to do about each kind."""

from __future__ import annotations

import codecs
import re

from common.errors import DataError

HEAD = 512
"""Bytes from the beginning that tell a kind."""

_ARCHIVE = "unpack it, and give the table that is in it (a spreadsheet: save it as CSV)"
_SAVE = "save its table as CSV"
_PANDAS = "save it as CSV, for instance with pandas: pandas.read_{}(FILE).to_csv(OUT, index=False)"
_KINDS = (
    (rb"BZh[1-9]1AY&SY", "bzip2", "unpack it with `bunzip2 -k`"),
    (rb"\xfd7zXZ\x00", "xz", "unpack it with `unxz -k`"),
    (rb"\x28\xb5\x2f\xfd", "zstandard", "unpack it with `unzstd`"),
    (rb"PK(\x03\x04|\x05\x06)", "zip", _ARCHIVE),
    (rb"7z\xbc\xaf\x27\x1c", "7z", _ARCHIVE),
    (rb"Rar!\x1a\x07", "rar", _ARCHIVE),
    (rb".{257}ustar", "tar", _ARCHIVE),
    (rb"PAR1", "Parquet", _PANDAS.format("parquet")),
    (rb"ARROW1|FEA1", "Arrow", _PANDAS.format("feather")),
    (rb"\x89HDF\r\n", "HDF5", _PANDAS.format("hdf")),
    (rb"\xd0\xcf\x11\xe0", "Excel", _SAVE),
    (rb"SQLite format 3\x00", "SQLite", _SAVE),
    (rb"%PDF-", "PDF", _SAVE),
    (rb"\x80[\x02-\x05]", "pickle", f"{_SAVE}: pickles run code, and are not read"),
)
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def refuse_binary(name: str, head: bytes) -> None:
    """Raise DataError, naming the kind and the remedy, where the first bytes are those of a file without text."""
    for magic, kind, remedy in _KINDS:
        if re.match(magic, head, re.DOTALL):
            raise DataError(f"{name!r} is a {kind} file, not text", remedy)


def marked(head: bytes) -> str | None:
    """The encoding that a byte order mark names; None where there is no mark."""
    return next((encoding for mark, encoding in _MARKS if head.startswith(mark)), None)
