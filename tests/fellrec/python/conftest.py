"""A home with runs in it, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

import fellrec
from tests.clicks import click_settings
from tests.federation import tiny_settings


@pytest.fixture(scope="package")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a text run ``one`` and a click run ``clicks``."""
    home = tmp_path_factory.mktemp("home")
    fellrec.run(tiny_settings(home, run_name="one"), in_process=True, quiet=True)
    fellrec.run(click_settings(home / "crowd", run_name="clicks"), in_process=True, quiet=True)
    return home
