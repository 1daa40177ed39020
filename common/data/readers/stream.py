"""Files of any size, plain or gzip, line by line: never a whole one in memory."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from common.errors import DataError

_GZIP = b"\x1f\x8b"


@contextmanager
def opened(path: Path, encoding: str = "utf-8-sig", newline: str | None = None) -> Iterator[IO[str]]:
    """The text of a file, unpacked where it is gzip (by its first bytes, whatever its name).

    Raises DataError where it cannot be read, is cut short, or is not in this encoding.
    """
    try:
        with path.open("rb") as raw:
            packed = raw.peek(2)[:2] == _GZIP
            source = gzip.GzipFile(fileobj=raw) if packed else raw
            with io.TextIOWrapper(source, encoding=encoding, newline=newline) as text:  # type: ignore[type-var]
                yield text
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path.name!r} is not {encoding} text: {error.reason} at byte {error.start} of a block", "save it as UTF-8"
        ) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(
            f"{path.name!r} is not a whole gzip file: {error}", "it was cut short on the way: get it again"
        ) from error
    except OSError as error:
        hint = "give the folder or file of the raw data"
        raise DataError(f"cannot read {str(path)!r}: {error.strerror}", hint) from error


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


def objects(path: Path) -> Iterator[tuple[int, dict | None]]:
    """Line number and object of each line of JSON; None for a line that holds no object."""
    for row, line in lines(path):
        try:
            value = json.loads(line)
        except ValueError:
            value = None
        yield row, value if isinstance(value, dict) else None


def table(path: Path, encoding: str = "utf-8-sig", delimiter: str = ",") -> Iterator[tuple[int, list[str]]]:
    """Line number and fields of each row that is not empty, the header among them; a field may hold line ends.

    The number is that of the line on which the row ends. Raises DataError for what is no table.
    """
    with opened(path, encoding, newline="") as text:
        rows = csv.reader(text, delimiter=delimiter)
        try:
            for fields in rows:
                if fields:
                    yield rows.line_num, fields
        except csv.Error as error:
            raise DataError(
                f"{path.name!r} cannot be read after line {rows.line_num}: {error}",
                "look for a quotation mark that is never closed",
            ) from error
