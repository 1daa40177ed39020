"""Files of any size, plain or gzip, line by line: never a whole one in memory."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from common.data.readers.binary import HEAD, marked, refuse_binary
from common.errors import DataError

_GZIP = b"\x1f\x8b"
_UNCLOSED = "look for a quotation mark that is never closed"

Row = tuple[int, list[str]]


@contextmanager
def unpacked(path: Path) -> Iterator[io.BufferedReader | gzip.GzipFile]:
    """The bytes of a file, unpacked where it is gzip (by its first bytes, whatever its name).

    Raises DataError where it cannot be read, is cut short, or is of a kind that holds no text.
    """
    try:
        with path.open("rb") as raw:
            refuse_binary(path.name, raw.peek(HEAD)[:HEAD])
            if raw.peek(2)[:2] != _GZIP:
                yield raw
                return
            with gzip.GzipFile(fileobj=raw) as source:
                refuse_binary(path.name, source.peek(HEAD)[:HEAD])
                yield source
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(
            f"{path.name!r} is not a whole gzip file: {error}", "it was cut short on the way: get it again"
        ) from error
    except OSError as error:
        hint = "give the folder or file of the raw data"
        raise DataError(f"cannot read {str(path)!r}: {error.strerror}", hint) from error


@contextmanager
def opened(path: Path, encoding: str = "utf-8-sig", newline: str | None = None) -> Iterator[IO[str]]:
    """The text of a file, unpacked where it is gzip; a byte order mark goes before ``encoding``.

    Raises DataError as ``unpacked``, and where it is not in this encoding.
    """
    try:
        with unpacked(path) as source:
            said = marked(source.peek(HEAD)[:4])
            with io.TextIOWrapper(source, encoding=said or encoding, newline=newline) as text:
                yield text
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path.name!r} is not {encoding} text: {error.reason} at byte {error.start} of a block", "save it as UTF-8"
        ) from error


def first_of(folder: Path, names: Sequence[str], name: str, remedy: str) -> Path:
    """The first of these files that the folder holds, in any case, plain or with ``.gz``; raises DataError for none."""
    there = {path.name.lower(): path for path in folder.iterdir()} if folder.is_dir() else {}
    for wanted in names:
        for form in (wanted, f"{wanted}.gz"):
            if form.lower() in there:
                return there[form.lower()]
    raise DataError(f"{str(folder)!r} has none of {', '.join(names)} (or with .gz), as {name!r} needs", remedy)


def lines(path: Path, encoding: str = "utf-8-sig") -> Iterator[tuple[int, str]]:
    """Line number, from 1, and text of each line that is not empty."""
    with opened(path, encoding) as text:
        for row, line in enumerate(text, start=1):
            if line := line.rstrip("\n"):
                yield row, line


def objects(path: Path) -> Iterator[tuple[int, dict[str, Any] | None]]:
    """Line number and object of each line of JSON; None for a line that holds no object.

    Raises DataError where the first line holds none: then the file is in another form.
    """
    for place, (row, line) in enumerate(lines(path)):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        if not place and not isinstance(value, dict):
            raise DataError(f"{path.name!r}: line {row} is not JSON, it reads {line[:60]!r}", _form(line))
        yield row, value if isinstance(value, dict) else None


def _form(line: str) -> str:
    """What to do with a file whose first line is no object of JSON."""
    if line.startswith("{'") or line.startswith('{u"') or line.startswith("{u'"):
        return (
            "its lines are Python literals, as in the oldest releases: rewrite it with `python -c 'import ast, json, sys;"
            " [print(json.dumps(ast.literal_eval(line))) for line in sys.stdin]' < OLD > NEW`"
        )
    if line.lstrip().startswith("["):
        return "it is one list: write an object a line, for instance with `jq -c '.[]'`"
    return "give the file as published: an object of JSON a line"


def table(path: Path, encoding: str = "utf-8-sig", delimiter: str = ",", escape: str | None = None) -> Iterator[Row]:
    """Line number and fields of each row that is not empty, the header among them.

    A field in quotes may hold line ends; the number is that of the line on which the row ends. ``escape`` goes before a
    quote inside a quoted field; without it such a quote is doubled. Raises DataError, naming the row, where a quotation
    mark is never closed, or only on a later line and inside its text.
    """
    with opened(path, encoding, newline="") as text:
        record: list[str] = []
        rows = csv.reader(_noted(text, record), delimiter=delimiter, escapechar=escape, strict=True)
        while True:
            begun = rows.line_num + 1
            record.clear()
            try:
                fields = next(rows)
            except StopIteration:
                return
            except csv.Error as error:
                # A quote that ends before its field does harms its own line alone; one that is open swallows others.
                if len(record) > 1 or "end of data" in str(error):
                    raise DataError(
                        f"{path.name!r}: the quotation mark in row {begun} is never closed", _UNCLOSED
                    ) from error
                fields = _loose(path, begun, record[0], delimiter, escape)
            if fields:
                yield rows.line_num, fields


def literal_table(path: Path, encoding: str = "utf-8-sig", delimiter: str = "\t") -> Iterator[Row]:
    """Line number and fields of each row that is not empty; a quotation mark is a character like any other."""
    with opened(path, encoding) as text:
        for row, line in enumerate(text, start=1):
            if line := line.rstrip("\n"):
                yield row, line.split(delimiter)


def _noted(text: Iterable[str], record: list[str]) -> Iterator[str]:
    for line in text:
        record.append(line)
        yield line


def _loose(path: Path, row: int, line: str, delimiter: str, escape: str | None) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter, escapechar=escape))
    except csv.Error as error:
        raise DataError(f"{path.name!r}: row {row} cannot be read: {error}", _UNCLOSED) from error
