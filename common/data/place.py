"""A folder that appears whole or not at all, though several processes make it at the same time."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.errors import DataError
from common.files import on_disk


@contextmanager
def placed(place: Path, replace: bool = False) -> Iterator[Path]:
    """An empty folder to build in; at the end it becomes ``place``.

    Where another process was first its folder stays and this one is dropped, or with ``replace`` the other way round.
    Raises DataError where the disk does not take it: it is full, or may not be written to.
    """
    building, former = (place.with_name(f".{place.name}.{uuid.uuid4().hex}") for _ in range(2))
    try:
        with on_disk(place, DataError):
            building.mkdir(parents=True)
            yield building
            if replace and place.is_dir():
                place.rename(former)
            try:
                building.rename(place)
            except OSError:
                if not place.is_dir():
                    raise
    finally:
        shutil.rmtree(building, ignore_errors=True)
        shutil.rmtree(former, ignore_errors=True)
