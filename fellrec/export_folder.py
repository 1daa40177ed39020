"""The folder that an export writes: there whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from common.errors import ConfigError


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes
    ----------
    parameters : of the adapter, or of a whole click model. checked : what was tried before the folder got its name, in words.
    moved : the largest difference that training makes to what the model says of a probe. projection : whether there is one
        beside the adapter. items : whether the client's item matrix is.
    """

    folder: Path
    parameters: int
    checked: str
    moved: float
    projection: bool = False
    items: bool = False


def check_empty(out: Path) -> None:
    """Refuses a place for an export before any work is done for it.

    Raises
    ------
    ConfigError : ``out`` holds something.
    """
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise ConfigError(f"--out is {str(out)!r}, which is not an empty folder", "name another")


@contextmanager
def exporting(out: Path) -> Iterator[Path]:
    """A folder to write in, which gets its name ``out`` at the end; an exception leaves nothing of it."""
    partial = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        partial.mkdir(parents=True)
        yield partial
        os.replace(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
