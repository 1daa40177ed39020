"""Files that are whole or not there, whatever happens while they are written."""

from __future__ import annotations

import os
from pathlib import Path


def replace_file(path: Path, content: bytes) -> None:
    """Writes a file under a temporary name, flushes it to the disk, then renames it. Only the owner may read it.

    Raises
    ------
    OSError : it cannot be written; names the path and the bytes. What was there before is whole.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OSError(error.errno, f"{error.strerror}; it takes {len(content):,} bytes", str(path)) from error
    os.replace(temporary, path)
    _flush_folder(path.parent)


def remove_file(path: Path) -> None:
    """Removes a file, if it is there, so that it stays removed after a power cut."""
    if path.exists():
        path.unlink()
        _flush_folder(path.parent)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
