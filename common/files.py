"""Files that fellrec keeps: a disk that fails, and damage, as fellrec's own errors."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from common.errors import FellrecError, RunError

_ELSEWHERE = "give the user the right to it, or set FELLREC_HOME to a folder that may be written to"
_ROOM = "make room there, or set FELLREC_HOME to a folder on another disk"
REMEDIES = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: _ROOM,
    errno.EROFS: _ELSEWHERE,
    errno.EACCES: _ELSEWHERE,
    errno.EPERM: _ELSEWHERE,
    errno.ENOTDIR: "a file lies where a folder must be: move it, or set FELLREC_HOME to another place",
    errno.EISDIR: "a folder lies where a file must be: move it, or give another path",
    errno.EEXIST: "a file lies where a folder must be: move it, or set FELLREC_HOME to another place",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.EIO: "the disk fails: look at the system's log, or set FELLREC_HOME to a folder on another disk",
    errno.EMFILE: "allow more open files, with `ulimit -n`",
}
"""What helps against what the operating system says of a file, by its number."""

_NUMBER = re.compile(r"os error (\d+)")


def disk_failure(
    error: OSError | SafetensorError, path: Path | str = "", kind: type[FellrecError] = RunError
) -> FellrecError:
    """The error of fellrec for one of the operating system; ``path`` where the error names none."""
    if isinstance(error, OSError):
        number, named = error.errno, error.filename2 or error.filename
    else:
        # safetensors writes files by itself, and tells the system's number in words
        found = _NUMBER.search(str(error))
        number, named = int(found[1]) if found else None, None
    said = os.strerror(number) if number else str(error)
    return kind(f"{str(path or named)!r} cannot be used: {said}", REMEDIES.get(number or 0, ""))


@contextmanager
def on_disk(path: Path, kind: type[FellrecError] = RunError) -> Iterator[None]:
    """Maps what the operating system says of the files under ``path`` to ``kind``."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise disk_failure(error, path, kind) from error


def read_json(
    path: Path, kind: type[FellrecError] = RunError, hint: str = "restore the file, or run again"
) -> dict[str, Any]:
    """A JSON object; a byte order mark is passed over.

    Raises
    ------
    kind : the file cannot be read, is not JSON, or holds something else than an object.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise kind(f"{str(path)!r} is damaged, or cannot be read: {error}", hint) from error
    if not isinstance(found, dict):
        raise kind(f"{str(path)!r} is damaged: it holds a {type(found).__name__}, not an object", hint)
    return found
