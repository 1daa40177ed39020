"""The app that Flower gets: the checkout as it stands or, where a wheel is installed, a folder made of its packages."""

from __future__ import annotations

import shutil
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PACKAGES = Path(__file__).resolve().parent.parent
"""Where the packages stand: the checkout, or ``site-packages``."""

SHIPPED = Path(__file__).resolve().parent / "app"
"""What a wheel carries of a checkout beside the packages; a checkout has no such folder."""


def root() -> Path:
    """The folder with ``pyproject.toml`` and ``recipes/``."""
    return SHIPPED if SHIPPED.is_dir() else PACKAGES


@contextmanager
def app_folder() -> Iterator[Path]:
    """A folder that ``flwr run`` takes, for the duration of the context."""
    if not SHIPPED.is_dir():
        yield PACKAGES
        return
    with tempfile.TemporaryDirectory(prefix="fellrec-") as made:
        folder = Path(made) / "fellrec"
        _assemble(folder)
        yield folder


def _assemble(folder: Path) -> None:
    """Copies what ``fab-include`` names: the installed packages' files, and those of the app's own folder."""
    declared = SHIPPED / "pyproject.toml"
    for pattern in tomllib.loads(declared.read_text(encoding="utf-8"))["tool"]["flwr"]["app"]["fab-include"]:
        source = SHIPPED if pattern.startswith("/") else PACKAGES
        for path in source.glob(pattern.lstrip("/")):
            copy = folder / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
    shutil.copyfile(declared, folder / declared.name)
